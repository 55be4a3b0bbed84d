//! Puts the built web pages into the program: the files of `inbox-ui/talk/dist`, as a list for
//! `src/http/pages.rs`. Where it has not been built there are none, and the program says so at that page.

use std::{
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    let crate_folder = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let dist = crate_folder.join("../inbox-ui/talk/dist");
    // Cargo watches only what is there. Where it cannot be made, it is looked for at every build.
    let _ = fs::create_dir_all(&dist);
    println!("cargo::rerun-if-changed={}", dist.display());

    let mut files = Vec::new();
    if dist.is_dir() {
        collect(&dist.canonicalize()?, "", &mut files)?;
    }
    files.sort();
    let mut list = fs::File::create(Path::new(&variable("OUT_DIR")?).join("talk_page.rs"))?;
    writeln!(list, "&[")?;
    for (name, path) in files {
        writeln!(list, "    ({name:?}, include_bytes!({path:?})),")?;
    }
    writeln!(list, "]")
}

/// All files below a folder, by their names there. Hidden ones are notes of the build.
fn collect(folder: &Path, prefix: &str, into: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let name = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{name}/"), into)?;
        } else {
            into.push((name, entry.path()));
        }
    }
    Ok(())
}

fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(|error| io::Error::other(format!("{name}: {error}")))
}
