//! Instructions of AArch64, from the tables of encodings in the Arm Architecture Reference Manual, C4.

use super::code::{Does, Step};

/// Decodes the code at `address`.
pub(super) fn steps(code: &[u8], address: u64) -> Vec<Step> {
    let words = code.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
    let step = |(index, word): (u64, u32)| {
        let at = address.wrapping_add(4 * index);
        Step { at, does: does(word, at) }
    };
    (0..).zip(words).map(step).collect()
}

fn does(word: u32, at: u64) -> Does {
    const SP: u32 = 31;
    /// Bytes of a register.
    const WIDTH: u32 = 8;
    let (first, base) = (word & 31, word >> 5 & 31);
    match word {
        // bl
        _ if word >> 26 == 0b100_101 => {
            Does::Call(at.wrapping_add_signed(i64::from((word << 6) as i32 >> 4)))
        }
        // str x, [sp, #n]! and stp x, x, [sp, #n]!
        _ if word & 0xffe0_0c00 == 0xf800_0c00 && base == SP => Does::Frame,
        _ if word & 0xffc0_0000 == 0xa980_0000 && base == SP => Does::Frame,
        // add and sub with a number, which is also how one writes to sp: mov sp, x20 is add sp, x20, #0
        _ if word & 0xbf80_0000 == 0x9100_0000 && first == SP => Does::Frame,
        // str and ldr x, [sp, #n]
        _ if word & 0xffc0_0000 == 0xf900_0000 && base == SP && first == 0 => {
            Does::Keep((word >> 10 & 0xfff) * WIDTH)
        }
        _ if word & 0xffc0_0000 == 0xf940_0000 && base == SP => {
            let place = (word >> 10 & 0xfff) * WIDTH;
            Does::Load(place..place + WIDTH)
        }
        // stp and ldp x, x, [sp, #n], with n not negative
        _ if word & 0xffe0_0000 == 0xa900_0000 && base == SP => {
            let place = (word >> 15 & 0x3f) * WIDTH;
            match (first, word >> 10 & 31) {
                (0, _) => Does::Keep(place),
                (_, 0) => Does::Keep(place + WIDTH),
                _ => Does::Other,
            }
        }
        _ if word & 0xffe0_0000 == 0xa940_0000 && base == SP => {
            let place = (word >> 15 & 0x3f) * WIDTH;
            Does::Load(place..place + 2 * WIDTH)
        }
        _ => Does::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::{Does, steps};

    #[test]
    fn the_instructions_that_matter() {
        let code = [
            0xf940_0b90, // ldr x16, [x28, #16]
            0xeb30_63ff, // cmp sp, x16
            0x5400_1909, // b.ls
            0xf819_0ffe, // str x30, [sp, #-112]!
            0xf81f_83fd, // stur x29, [sp, #-8]
            0xd100_23fd, // sub x29, sp, #8
            0xf900_33ff, // str xzr, [sp, #96]
            0xf900_3fe0, // str x0, [sp, #120]
            0x97f7_4d43, // bl
            0xf940_3fe3, // ldr x3, [sp, #120]
            0xa93f_fa9d, // stp x29, x30, [x20, #-8]
            0x9100_029f, // mov sp, x20
            0xa906_83e1, // stp x1, x0, [sp, #104]
            0xa946_8be1, // ldp x1, x2, [sp, #104]
            0xa9bf_7bfd, // stp x29, x30, [sp, #-16]!
        ];
        let code: Vec<u8> = code.into_iter().flat_map(u32::to_le_bytes).collect();
        let does: Vec<Does> = steps(&code, 0x2c_83e4).into_iter().map(|step| step.does).collect();
        let expected = [
            Does::Other,
            Does::Other,
            Does::Other,
            Does::Frame,
            Does::Other,
            Does::Other,
            Does::Other,
            Does::Keep(120),
            Does::Call(0x9_b910),
            Does::Load(120..128),
            Does::Other,
            Does::Frame,
            Does::Keep(112),
            Does::Load(104..120),
            Does::Frame,
        ];
        assert_eq!(does, expected);
    }
}
