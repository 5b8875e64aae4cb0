//! A file that results are written to. It is there when they are complete.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::{Error, output};

/// Where the bytes go meanwhile.
enum Place {
    /// A file beside, which takes the place of the one asked for.
    Beside(BufWriter<NamedTempFile>),
    /// What is no file, such as a pipe: itself.
    Itself(BufWriter<File>),
}

/// A file in the making.
pub struct Target {
    path: PathBuf,
    place: Place,
}

impl Target {
    /// A file at `path`, which is none of `inputs`. One that is there already is replaced in the end.
    pub fn create(path: &Path, inputs: &[PathBuf]) -> Result<Self, Error> {
        let failed = |error: io::Error| output::refused(path, &error);
        if let Ok(output) = fs::canonicalize(path)
            && inputs.iter().any(|input| fs::canonicalize(input).is_ok_and(|input| input == output))
        {
            return Err(output::failed(
                path,
                "it is one of the captures, which would be lost: name another file".to_owned(),
            ));
        }
        let place = if fs::metadata(path).is_ok_and(|file| !file.is_file()) {
            Place::Itself(BufWriter::new(File::options().write(true).open(path).map_err(failed)?))
        } else {
            Place::Beside(BufWriter::new(output::beside(path, true)?))
        };
        Ok(Self { path: path.to_owned(), place })
    }

    /// All is written: the file is there now. Only its owner may read it, as it has what was captured.
    pub fn finish(self) -> Result<(), Error> {
        let failed = |error: io::Error| output::refused(&self.path, &error);
        match self.place {
            Place::Itself(mut file) => file.flush().map_err(failed),
            Place::Beside(file) => {
                let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
                output::put(file, &self.path, true)
            }
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.place {
            Place::Beside(file) => file.write(bytes),
            Place::Itself(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.place {
            Place::Beside(file) => file.flush(),
            Place::Itself(file) => file.flush(),
        }
    }
}
