//! Numbers over time as a line of blocks.

use beyla_engine::red::Timeline;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Requests over time, so coarse that every line fits.
pub(super) struct Lines {
    /// What one block stands for, seconds.
    pub(super) step: f64,
    /// Requests per second.
    pub(super) rate: Line,
    /// Failed requests as a share of all.
    pub(super) errors: Line,
    /// The highest 99th percentile, milliseconds.
    pub(super) p99: Line,
}

/// One number over time.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    /// A block for each step, of a height between nothing and `max`; a space where there is no number.
    pub(super) blocks: String,
    /// The lowest number.
    pub(super) min: f64,
    /// The highest.
    pub(super) max: f64,
}

impl Lines {
    /// Of at most `width` blocks. None where nothing changes over time: there is one step.
    pub(super) fn of(timeline: &Timeline, width: usize) -> Option<Self> {
        let buckets = &timeline.buckets;
        let together = buckets.len().div_ceil(width.max(1)).max(1);
        if buckets.len() <= together {
            return None;
        }
        let step = timeline.bucket_seconds * together as f64;
        let (mut rate, mut errors, mut p99) = (Vec::new(), Vec::new(), Vec::new());
        for chunk in buckets.chunks(together) {
            let requests: u64 = chunk.iter().map(|bucket| bucket.requests).sum();
            let failed: u64 = chunk.iter().map(|bucket| bucket.errors).sum();
            rate.push(Some(requests as f64 / step));
            errors.push((requests > 0).then(|| failed as f64 / requests as f64));
            p99.push(chunk.iter().filter_map(|bucket| bucket.p99_ms).reduce(f64::max));
        }
        Some(Self { step, rate: Line::of(&rate), errors: Line::of(&errors), p99: Line::of(&p99) })
    }
}

impl Line {
    fn of(numbers: &[Option<f64>]) -> Self {
        let known = || numbers.iter().copied().flatten();
        let min = known().reduce(f64::min).unwrap_or(0.0);
        let max = known().reduce(f64::max).unwrap_or(0.0);
        let block = |number: &Option<f64>| match number {
            None => ' ',
            Some(number) if max > 0.0 => {
                let height = (number / max * BLOCKS.len() as f64).ceil() as usize;
                BLOCKS.get(height.saturating_sub(1)).copied().unwrap_or(' ')
            }
            Some(_) => BLOCKS[0],
        };
        Self { blocks: numbers.iter().map(block).collect(), min, max }
    }
}

#[cfg(test)]
mod tests {
    use beyla_engine::red::Bucket;

    use super::*;

    fn timeline(numbers: &[(u64, u64, Option<f64>)]) -> Timeline {
        let bucket =
            |&(requests, errors, p99_ms)| Bucket { start_ns: 0, requests, errors, p50_ms: None, p99_ms };
        Timeline { bucket_seconds: 0.5, buckets: numbers.iter().map(bucket).collect() }
    }

    #[test]
    fn blocks_are_as_high_as_their_share_of_the_highest() {
        let timeline = timeline(&[(8, 8, Some(1.0)), (0, 0, None), (4, 1, Some(2.0)), (1, 0, Some(16.0))]);
        let lines = Lines::of(&timeline, 80).unwrap();
        assert_eq!((lines.step, &*lines.rate.blocks), (0.5, "█▁▄▁"));
        assert_eq!((lines.rate.min, lines.rate.max), (0.0, 16.0));
        assert_eq!((&*lines.errors.blocks, lines.errors.max), ("█ ▂▁", 1.0));
        assert_eq!((&*lines.p99.blocks, lines.p99.min, lines.p99.max), ("▁ ▁█", 1.0, 16.0));
    }

    #[test]
    fn many_buckets_are_taken_together() {
        let timeline = timeline(&[(1, 0, Some(1.0)), (1, 0, Some(4.0)), (2, 2, Some(2.0))]);
        let lines = Lines::of(&timeline, 2).unwrap();
        assert_eq!((lines.step, &*lines.rate.blocks, &*lines.p99.blocks), (1.0, "██", "█▄"));
        assert!(Lines::of(&timeline, 1).is_none());
    }
}
