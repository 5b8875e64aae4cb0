//! Instructions of x86-64.

use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

use super::code::{Does, Step};

/// Decodes the code at `address`.
pub(super) fn steps(code: &[u8], address: u64) -> Vec<Step> {
    let decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    decoder.into_iter().map(|instruction| Step { at: instruction.ip(), does: does(&instruction) }).collect()
}

fn does(instruction: &Instruction) -> Does {
    let first =
        |register| instruction.op0_kind() == OpKind::Register && instruction.op0_register() == register;
    match instruction.mnemonic() {
        Mnemonic::Call if instruction.code() == Code::Call_rel32_64 => {
            Does::Call(instruction.near_branch64())
        }
        Mnemonic::Push => Does::Frame,
        // `add rsp, -128` is shorter than `sub rsp, 128`.
        Mnemonic::Sub | Mnemonic::Add if first(Register::RSP) => Does::Frame,
        Mnemonic::Mov => match (instruction.code(), on_stack(instruction)) {
            (Code::Mov_rm64_r64, Some(place)) if instruction.op1_register() == Register::RAX => {
                Does::Keep(place)
            }
            (Code::Mov_r64_rm64, Some(place)) => Does::Load(place..place.saturating_add(8)),
            _ => Does::Other,
        },
        _ => Does::Other,
    }
}

/// The distance from the stack pointer of the operand that is in memory.
fn on_stack(instruction: &Instruction) -> Option<u32> {
    let plain = instruction.memory_base() == Register::RSP && instruction.memory_index() == Register::None;
    plain.then(|| u32::try_from(instruction.memory_displacement64()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::{Does, Step, steps};

    #[test]
    fn the_beginning_of_a_function() {
        let code = [
            0x49, 0x3b, 0x66, 0x10, // cmp rsp, [r14+0x10]
            0x0f, 0x86, 0x7a, 0x03, 0x00, 0x00, // jbe
            0x55, // push rbp
            0x48, 0x89, 0xe5, // mov rbp, rsp
            0x48, 0x83, 0xec, 0x58, // sub rsp, 0x58
            0x48, 0x89, 0x44, 0x24, 0x68, // mov [rsp+0x68], rax
            0x48, 0x89, 0x4c, 0x24, 0x78, // mov [rsp+0x78], rcx
            0xe8, 0xf0, 0x07, 0x00, 0x00, // call
            0x48, 0x8b, 0x74, 0x24, 0x68, // mov rsi, [rsp+0x68]
            0xff, 0xd0, // call rax
            0xc3, // ret
        ];
        let frame = |at| Step { at, does: Does::Frame };
        let other = |at| Step { at, does: Does::Other };
        let expected = [
            other(0x1000),
            other(0x1004),
            frame(0x100a),
            other(0x100b),
            frame(0x100e),
            Step { at: 0x1012, does: Does::Keep(0x68) },
            other(0x1017),
            Step { at: 0x101c, does: Does::Call(0x1811) },
            Step { at: 0x1021, does: Does::Load(0x68..0x70) },
            other(0x1026),
            other(0x1028),
        ];
        assert_eq!(steps(&code, 0x1000), expected);
    }
}
