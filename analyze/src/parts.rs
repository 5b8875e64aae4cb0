//! Parts of a rotated capture: which files belong together, and in which order.

use std::collections::HashMap;

use beyla_schema::file::Metadata;

/// Groups files into recordings: consecutive parts of one capture, in the order of their numbers. Any other file
/// is a recording of its own, and so is what comes after a missing part. Recordings stand where the first file of
/// their capture stood.
///
/// A part that is given twice begins a second recording, as any file that is given twice counts twice.
pub(crate) fn recordings<T>(files: Vec<T>, metadata: impl Fn(&T) -> &Metadata) -> Vec<Vec<T>> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let place = |(index, file): (usize, T)| {
        let Metadata { part, capture_id, .. } = metadata(&file);
        let place = match part {
            Some(_) => *places.entry(capture_id.clone()).or_insert(index),
            None => index,
        };
        ((place, part.unwrap_or(0)), file)
    };
    let mut files: Vec<_> = files.into_iter().enumerate().map(place).collect();
    files.sort_by_key(|(key, _)| *key);

    let mut recordings: Vec<Vec<((usize, u32), T)>> = Vec::new();
    for (key, file) in files {
        let (place, part) = key;
        let goes_on = |recording: &&mut Vec<((usize, u32), T)>| {
            part > 1 && recording.last().is_some_and(|(last, _)| *last == (place, part - 1))
        };
        match recordings.iter_mut().find(goes_on) {
            Some(recording) => recording.push((key, file)),
            None => recordings.push(vec![(key, file)]),
        }
    }
    let file = |(_, file)| file;
    recordings.into_iter().map(|parts| parts.into_iter().map(file).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grouped(files: &[(&str, Option<u32>)]) -> Vec<String> {
        let metadata = |(id, part): &(&str, Option<u32>)| Metadata {
            capture_id: (*id).to_owned(),
            part: *part,
            ..Metadata::default()
        };
        let name = |file: &Metadata| format!("{}{}", file.capture_id, file.part.unwrap_or(0));
        recordings(files.iter().map(metadata).collect(), |file| file)
            .into_iter()
            .map(|parts| parts.iter().map(name).collect::<Vec<_>>().join(" "))
            .collect()
    }

    #[test]
    fn parts_of_one_capture_come_together_in_order() {
        let files =
            [("a", Some(3)), ("b", None), ("c", Some(2)), ("a", Some(1)), ("c", Some(1)), ("a", Some(2))];
        assert_eq!(grouped(&files), ["a1 a2 a3", "b0", "c1 c2"]);
    }

    #[test]
    fn a_missing_part_and_another_capture_begin_anew() {
        assert_eq!(grouped(&[("a", Some(4)), ("a", Some(2)), ("a", Some(1))]), ["a1 a2", "a4"]);
        assert_eq!(grouped(&[("a", Some(1)), ("b", Some(2))]), ["a1", "b2"]);
        assert_eq!(grouped(&[("a", None), ("a", None)]), ["a0", "a0"]);
    }

    #[test]
    fn a_part_given_twice_counts_twice() {
        let files = [("a", Some(2)), ("a", Some(1)), ("a", Some(2)), ("a", Some(1))];
        assert_eq!(grouped(&files), ["a1 a2", "a1 a2"]);
    }
}
