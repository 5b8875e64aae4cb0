//! The manual page, and completions for shells.

use std::io::Write;

use clap::ValueEnum;
use clap_complete::Shell;

use super::definition;

/// What can be generated from the command line's definition.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Generate {
    Man,
    CompleteBash,
    CompleteZsh,
    CompleteFish,
}

/// Writes `what` to `out`.
pub(crate) fn generate(what: Generate, out: &mut impl Write) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let mut command = definition();
    let mut complete = |shell| clap_complete::generate(shell, &mut command, "beyla-analyze", &mut bytes);
    match what {
        Generate::Man => manual(&mut bytes)?,
        Generate::CompleteBash => complete(Shell::Bash),
        Generate::CompleteZsh => complete(Shell::Zsh),
        Generate::CompleteFish => complete(Shell::Fish),
    }
    out.write_all(&bytes)
}

/// One page: the commands follow the options of the program.
fn manual(page: &mut Vec<u8>) -> std::io::Result<()> {
    let mut command = definition();
    command.build();
    clap_mangen::Man::new(command.clone()).render(page)?;
    for command in command.get_subcommands() {
        writeln!(page, ".SH \"COMMAND {}\"", command.get_name().to_uppercase())?;
        let command = clap_mangen::Man::new(command.clone());
        command.render_synopsis_section(page)?;
        command.render_description_section(page)?;
        command.render_options_section(page)?;
        command.render_extra_section(page)?;
    }
    Ok(())
}
