//! Where exports go: a file that is there when it is complete, and not before.

use std::{
    io::{self, BufWriter, Write},
    path::Path,
};

use crate::{
    Error,
    output::{self, Place},
};

/// Has `write` write a file, which appears at `path` when it is complete; its owner alone may read it. A file that is there
/// already is replaced with `force` only.
pub fn to_file<T>(
    path: &Path,
    force: bool,
    write: impl FnOnce(&mut dyn Write) -> Result<T, Error>,
) -> Result<T, Error> {
    let failed = |error: io::Error| output::refused(path, &error);
    let place = Place::take(path, force)?;
    let mut out = BufWriter::new(place.file()?);
    let written = write(&mut out).map_err(|error| match error {
        Error::Write(error) => failed(error),
        other => other,
    })?;
    out.flush().map_err(failed)?;
    place.fill()?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::FileTypeExt as _, process::Command, thread};

    use super::*;

    #[test]
    fn a_file_is_there_when_it_is_complete_and_is_not_replaced_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let failed = to_file(&path, false, |out| {
            out.write_all(b"half")?;
            Err::<(), _>(Error::TooMuch("of it".to_owned()))
        });
        assert!(failed.is_err() && fs::read_dir(folder.path()).unwrap().next().is_none());
        let write = |text: &'static [u8]| move |out: &mut dyn Write| Ok(out.write_all(text)?);
        to_file(&path, false, write(b"first")).unwrap();
        let refused = to_file(&path, false, write(b"second")).unwrap_err().to_string();
        assert!(refused.ends_with("exists already: overwrite it with --force"), "{refused}");
        assert_eq!(fs::read(&path).unwrap(), b"first");
        to_file(&path, true, write(b"second")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
    }

    #[test]
    fn what_is_no_file_is_written_to_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let reader = thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        to_file(&pipe, false, |out| Ok(out.write_all(b"all")?)).unwrap();
        assert_eq!(reader.join().unwrap(), b"all");
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
    }
}
