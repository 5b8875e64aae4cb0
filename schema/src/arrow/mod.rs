//! The Arrow form of events and requests: column names, types and the conversions both ways.

pub mod events;
pub mod requests;
mod words;

use std::{fmt::Write as _, net::IpAddr};

use arrow::array::StringBuilder;

/// Appends an address as text.
fn append_ip(values: &mut StringBuilder, ip: Option<IpAddr>) {
    match ip {
        Some(ip) => {
            // Writing to a StringBuilder cannot fail; the empty value ends what was written.
            let _ = write!(values, "{ip}");
            values.append_value("");
        }
        None => values.append_null(),
    }
}
