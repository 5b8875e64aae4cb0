//! Where the functions of OpenSSL's family are in a library, or in a program that brings its own.

use object::{Object as _, ObjectSegment as _, ObjectSymbol as _, ReadRef};

use super::plan::{Plan, Point, Program};

/// What is attached where. Both halves of a function are needed, or none.
const FUNCTIONS: &[(&str, &[Program])] = &[
    ("SSL_new", &[Program::SslNew]),
    ("SSL_free", &[Program::SslFree]),
    ("SSL_do_handshake", &[Program::SslHandshakeEnter, Program::SslHandshakeLeave]),
    ("SSL_read", &[Program::SslEnter, Program::SslRead]),
    ("SSL_write", &[Program::SslEnter, Program::SslWrite]),
    ("SSL_read_ex", &[Program::SslEnter, Program::SslReadEx]),
    ("SSL_write_ex", &[Program::SslEnter, Program::SslWriteEx]),
];

/// Without a function of each of these nothing is seen. A program that brings the library along has those it needs.
const NEEDED: &[&str] = &["SSL_read", "SSL_write"];

/// Finds them. None when there are none, as in most files.
pub(super) fn plan<'data, R: ReadRef<'data>>(elf: &object::File<'data, R>) -> Option<Plan> {
    let mut found = [None; FUNCTIONS.len()];
    // What a library offers to others, else what it says of itself.
    for symbol in elf.dynamic_symbols().chain(elf.symbols()) {
        let Ok(name) = symbol.name() else { continue };
        if let Some(index) = FUNCTIONS.iter().position(|(function, _)| *function == name)
            && found[index].is_none()
            && symbol.is_definition()
        {
            found[index] = offset(elf, symbol.address());
            if found.iter().all(Option::is_some) {
                break;
            }
        }
    }
    let functions = || FUNCTIONS.iter().zip(found).filter_map(|(function, offset)| Some((function, offset?)));
    if !NEEDED.iter().all(|needed| functions().any(|((name, _), _)| name.starts_with(needed))) {
        return None;
    }
    let points = functions().flat_map(|((_, programs), offset)| {
        programs.iter().map(move |&program| Point { program, offset, cookie: 0 })
    });
    Some(Plan { library: "openssl", points: points.collect() })
}

/// Where an address of the process lies in the file.
fn offset<'data, R: ReadRef<'data>>(elf: &object::File<'data, R>, address: u64) -> Option<u64> {
    elf.segments().find_map(|segment| {
        let within = address.checked_sub(segment.address()).filter(|within| *within < segment.size())?;
        let (offset, size) = segment.file_range();
        (within < size).then_some(offset + within)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::plan::{self, Content, Program};

    /// Finds a file that the dynamic linker would find, or a program.
    fn content(paths: &[&str]) -> Option<Content> {
        let path = paths.iter().map(Path::new).find(|path| path.exists())?;
        Some(plan::of(path, path))
    }

    #[test]
    fn libraries_and_programs_that_bring_one_are_seen_into() {
        let libssl =
            content(&["/usr/lib/x86_64-linux-gnu/libssl.so.3", "/usr/lib/aarch64-linux-gnu/libssl.so.3"]);
        for content in [libssl, content(&["/usr/bin/node"])].into_iter().flatten() {
            let Content::Seen(plan) = content else { panic!("{content:?}") };
            assert_eq!(plan.library, "openssl");
            for &program in Program::ALL.iter().filter(|program| program.name().starts_with("ssl")) {
                let places = plan.points.iter().filter(|point| point.program == program).count();
                assert_eq!(places, if program == Program::SslEnter { 4 } else { 1 }, "{program:?}");
            }
            assert!(plan.points.iter().all(|point| point.offset > 0));
        }
    }

    #[test]
    fn files_without_one_have_nothing() {
        assert_eq!(content(&["/bin/sh"]), Some(Content::Nothing));
        assert_eq!(content(&["/etc/passwd"]), Some(Content::Nothing));
    }

    #[test]
    fn what_should_be_one_and_is_not_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libssl.so.9");
        std::fs::copy("/bin/sh", &path).unwrap();
        assert!(matches!(plan::of(&path, &path), Content::Unseen { library: "openssl", .. }));
    }
}
