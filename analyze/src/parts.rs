//! Parts of a rotated capture: which files belong together, and in which order.

use std::collections::HashMap;

use beyla_schema::file::Metadata;

/// Where the first file of its capture stood, and the first and the last part that a file is.
type Place = (usize, u32, u32);

/// Groups files into recordings: consecutive parts of one capture, in the order of their numbers. Any other file
/// is a recording of its own, and so is what comes after a missing part. Recordings stand where the first file of
/// their capture stood.
///
/// A part that is given twice begins a second recording, as any file that is given twice counts twice.
pub(crate) fn recordings<T>(files: Vec<T>, metadata: impl Fn(&T) -> &Metadata) -> Vec<Vec<T>> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let place = |(index, file): (usize, T)| {
        let about = metadata(&file);
        let place = match about.part {
            Some(_) => *places.entry(about.capture_id.clone()).or_insert(index),
            None => index,
        };
        let (first, last) = (about.part.unwrap_or(0), about.ends_with_part().unwrap_or(0));
        ((place, first, last), file)
    };
    let mut files: Vec<_> = files.into_iter().enumerate().map(place).collect();
    files.sort_by_key(|(key, _)| *key);

    let mut recordings: Vec<Vec<(Place, T)>> = Vec::new();
    for (key, file) in files {
        let (place, part, _) = key;
        let goes_on = |recording: &&mut Vec<(Place, T)>| {
            part > 1 && recording.last().is_some_and(|(last, _)| (last.0, last.2) == (place, part - 1))
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
    fn merged_parts_stand_for_all_of_them() {
        let file = |part, last_part| Metadata { part: Some(part), last_part, ..Metadata::default() };
        let files = vec![file(4, None), file(1, Some(3)), file(6, Some(7))];
        let parts = recordings(files, |file| file).into_iter();
        let parts = parts.map(|files| files.iter().map(|file| file.part.unwrap()).collect::<Vec<_>>());
        assert_eq!(parts.collect::<Vec<_>>(), [vec![1, 4], vec![6]]);
    }

    #[test]
    fn a_part_given_twice_counts_twice() {
        let files = [("a", Some(2)), ("a", Some(1)), ("a", Some(2)), ("a", Some(1))];
        assert_eq!(grouped(&files), ["a1 a2", "a1 a2"]);
    }
}
