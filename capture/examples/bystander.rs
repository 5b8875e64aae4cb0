//! A process that a capture has nothing to do with, under heavy socket load: bytes go back and forth over a
//! loopback connection to itself, and it prints how many socket calls it made per second.
//!
//! `cargo run --example bystander -- SECONDS`: what others pay for a capture is the difference that one makes.

use std::{
    env,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

fn main() -> anyhow::Result<()> {
    let seconds: f64 = env::args().nth(1).map_or(Ok(5.0), |seconds| seconds.parse())?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut one = TcpStream::connect(listener.local_addr()?)?;
    let (mut other, _) = listener.accept()?;
    one.set_nodelay(true)?;
    other.set_nodelay(true)?;
    let (began, mut calls, mut bytes) = (Instant::now(), 0_u64, [0; 64]);
    while began.elapsed() < Duration::from_secs_f64(seconds) {
        for _ in 0..1000 {
            one.write_all(&bytes)?;
            other.read_exact(&mut bytes)?;
            other.write_all(&bytes)?;
            one.read_exact(&mut bytes)?;
            calls += 4;
        }
    }
    println!("{:.0}", calls as f64 / began.elapsed().as_secs_f64());
    Ok(())
}
