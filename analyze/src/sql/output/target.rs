//! A file that results are written to. It is there when they are complete.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use crate::{
    Error,
    output::{self, Place},
};

/// A file in the making.
pub struct Target {
    path: PathBuf,
    out: BufWriter<File>,
    place: Place,
}

impl Target {
    /// A file at `path`, which is none of `inputs`. One that is there already is replaced in the end.
    pub fn create(path: &Path, inputs: &[PathBuf]) -> Result<Self, Error> {
        if let Ok(output) = fs::canonicalize(path)
            && inputs.iter().any(|input| fs::canonicalize(input).is_ok_and(|input| input == output))
        {
            return Err(output::failed(
                path,
                "it is one of the captures, which would be lost: name another file".to_owned(),
            ));
        }
        let place = Place::take(path, true)?;
        Ok(Self { path: path.to_owned(), out: BufWriter::new(place.file()?), place })
    }

    /// All is written: the file is there now. Only its owner may read it, as it has what was captured.
    pub fn finish(mut self) -> Result<(), Error> {
        self.out.flush().map_err(|error| output::refused(&self.path, &error))?;
        self.place.fill()
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
