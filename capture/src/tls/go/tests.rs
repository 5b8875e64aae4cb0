//! Programs fresh from the Go compiler of this machine. Without one these tests say so and are skipped; with
//! `BEYLA_LIVE=required` they fail.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use object::{File, Object as _, ObjectSection as _, ReadCache};

use super::{Error, Points, Role, goid_offset, points};

/// Asks itself over TLS, so that the linker keeps both sides.
const TLS: &str = r#"
package main

import (
	"crypto/tls"
	"io"
)

func main() {
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{})
	if err != nil {
		panic(err)
	}
	go func() {
		client, err := tls.Dial("tcp", listener.Addr().String(), nil)
		if err != nil {
			panic(err)
		}
		io.WriteString(client, "hello")
		client.Close()
	}()
	server, err := listener.Accept()
	if err != nil {
		panic(err)
	}
	io.Copy(server, server)
}
"#;

/// Builds a program, or says why not.
fn build(folder: &Path, source: &str, architecture: &str, arguments: &[&str]) -> Option<PathBuf> {
    if Command::new("go").arg("version").output().is_err() {
        let obstacle = "skipped: there is no Go compiler";
        assert!(env::var_os("BEYLA_LIVE").is_none_or(|value| value != "required"), "{obstacle}");
        eprintln!("{obstacle}");
        return None;
    }
    let file = folder.join("main.go");
    fs::write(&file, source).unwrap();
    let program = folder.join(format!("program{architecture}{}", arguments.concat().replace('/', "")));
    let mut go = Command::new("go");
    go.current_dir(folder).arg("build").args(arguments).arg("-o").arg(&program).arg(&file);
    go.env("GOARCH", architecture).env("GOOS", "linux").env("CGO_ENABLED", "0").env("GO111MODULE", "off");
    let output = go.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(program)
}

fn points_of(program: &Path) -> Result<Points, Error> {
    let cache = ReadCache::new(fs::File::open(program).unwrap());
    points(&File::parse(&cache).unwrap())
}

/// What roles there are, ordered.
fn roles(points: &Points) -> Vec<&'static str> {
    let name = |role| match role {
        Role::Handshake { .. } => "handshake",
        Role::Read { .. } => "read",
        Role::Write => "write",
        Role::Close => "close",
    };
    let mut names: Vec<_> = points.points.iter().map(|point| name(point.role)).collect();
    names.sort_unstable();
    names
}

const ALL: [&str; 6] = ["close", "handshake", "handshake", "read", "write", "write"];

/// The points of a program, with and without its symbols, which must not matter.
fn with_and_without_symbols(architecture: &str, arguments: &[&str]) -> Option<(Points, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let whole = build(folder.path(), TLS, architecture, arguments)?;
    let stripped = build(folder.path(), TLS, architecture, &[arguments, &["-ldflags=-s -w"]].concat())?;
    let points = points_of(&whole).unwrap();
    assert_eq!(points_of(&stripped).as_ref(), Ok(&points));
    assert_eq!(roles(&points), ALL);
    assert!(points.tcp_conn.is_some(), "verify it for this version of Go");
    for program in [&whole, &stripped] {
        assert!(goid_offset(program).is_some(), "verify it for this version of Go");
    }
    Some((points, fs::read(whole).unwrap()))
}

#[test]
fn programs_for_x86_64() {
    for arguments in [&[][..], &["-buildmode=pie"]] {
        let Some((points, program)) = with_and_without_symbols("amd64", arguments) else { return };
        for point in points.points {
            let expected = match point.role {
                // call
                Role::Read { .. } | Role::Write => 0xe8,
                // push rbp
                Role::Handshake { .. } | Role::Close => 0x55,
            };
            assert_eq!(program[point.offset as usize], expected, "{point:?}");
        }
    }
}

#[test]
fn programs_for_aarch64() {
    let Some((points, program)) = with_and_without_symbols("arm64", &[]) else { return };
    for point in points.points {
        let word = program[point.offset as usize..].first_chunk().unwrap();
        let call = u32::from_le_bytes(*word) >> 26 == 0b100_101;
        assert_eq!(call, matches!(point.role, Role::Read { .. } | Role::Write), "{point:?}");
    }
}

#[test]
fn a_program_without_tls_has_no_points() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = build(folder.path(), "package main\nfunc main() {}\n", "amd64", &[]) else { return };
    assert_eq!(roles(&points_of(&program).unwrap()), Vec::<&str>::new());
    assert_eq!(points_of(Path::new("/bin/sh")), Err(Error::NoVersion));
}

#[test]
fn damaged_programs_are_no_danger() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = build(folder.path(), TLS, "amd64", &["-ldflags=-s -w"]) else { return };
    let whole = fs::read(program).unwrap();
    let look = |bytes: &[u8]| File::parse(bytes).ok().and_then(|file| points(&file).ok());
    let expected = look(&whole).unwrap();
    let ranges: Vec<_> = [".gopclntab", ".go.buildinfo", ".text"]
        .map(|name| File::parse(&whole[..]).unwrap().section_by_name(name).unwrap().file_range().unwrap())
        .into_iter()
        .map(|(start, size)| start as usize..(start + size) as usize)
        .collect();

    for end in (0..whole.len()).step_by(whole.len() / 50) {
        look(&whole[..end]);
    }
    // The heads of the file and of the tables, and a sample of the rest.
    let mut places: Vec<usize> = (0..0x400).step_by(3).collect();
    for range in &ranges {
        places.extend(range.clone().take(0x60));
        places.extend(range.clone().step_by(range.len() / 40 + 1));
    }
    let mut bytes = whole.clone();
    let mut changed = 0;
    for place in places {
        for value in [0xff, 0x80, 0x00, whole[place] ^ 1] {
            bytes[place] = value;
            changed += usize::from(look(&bytes).as_ref() != Some(&expected));
        }
        bytes[place] = whole[place];
    }
    assert!(changed > 100, "{changed} changes were noticed");
}
