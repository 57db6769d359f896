//! Writes the manual pages and the shell completions: `cargo run --example manual -- FOLDER`.
//!
//! They are made from the tables that the program itself is made from (options, variables, exit
//! codes, keys) and from the two annotated configuration files beside this folder. Whoever packages
//! the program runs this once; nothing of it is shipped.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

mod pages;

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let (Some(folder), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: cargo run --example manual -- FOLDER");
        return ExitCode::from(2);
    };
    match write(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", Path::new(&folder).display());
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder.join("completions"))?;
    pages::files().into_iter().try_for_each(|(name, text)| fs::write(folder.join(name), text))
}
