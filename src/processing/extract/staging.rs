//! Inputs as files of a scratch folder, under names that we choose: no name from a source reaches a
//! program.
//!
//! A large blob is not copied where the kernel keeps the program from changing it: then it is a
//! link to the blob's own file, which the program may read. Elsewhere it is a copy, which shares
//! its bytes with the blob where the filesystem can do that. It is never a hard link, through which
//! the original could be changed.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
};

use super::{
    Given,
    protocol::{FileFacts, FileInput, FilePlace, Input},
};

/// What lies in a scratch folder.
#[derive(Debug, Default)]
pub(super) struct Staged {
    /// The inputs, as a program is given them.
    pub(super) inputs: BTreeMap<String, Input>,
    /// The files of blobs that are linked to.
    pub(super) linked: Vec<PathBuf>,
}

/// Puts inputs into a folder, which no program may write to yet: it could put links in their place.
/// `path` is where the folder will be when a program is given them. `may_link`: the program is
/// started for them, so that it can be let read what they link to, and the kernel keeps it from
/// doing more.
///
/// # Errors
/// The disk's.
pub(super) fn inputs(
    given: BTreeMap<String, Given>,
    folder: &Path,
    path: &Path,
    may_link: bool,
) -> io::Result<Staged> {
    let mut staged = Staged::default();
    for (number, (name, given)) in given.into_iter().enumerate() {
        let input = match given {
            Given::Value(value) => Input::Value(value),
            Given::File { file, facts } => {
                let stem = if number == 0 { "input".to_owned() } else { format!("input{number}") };
                let name = format!("{stem}{}", ending(&facts));
                let place = folder.join(&name);
                match of_file(&file).filter(|_| may_link) {
                    Some(original) => {
                        std::os::unix::fs::symlink(&original, &place)?;
                        staged.linked.push(original);
                    }
                    None => copy(&file, &place)?,
                }
                Input::File(FileInput { place: FilePlace::Path(path.join(name)), facts })
            }
        };
        staged.inputs.insert(name, input);
    }
    Ok(staged)
}

/// A dot and the ending of a file's name, by which many programs know what it is: that of its name
/// where it is plain, else one of its type.
fn ending(facts: &FileFacts) -> String {
    const LONGEST: usize = 10;
    let own = Path::new(&facts.filename)
        .extension()
        .and_then(|it| it.to_str())
        .filter(|it| it.len() <= LONGEST && it.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let of_type = || {
        let all = mime_guess::get_mime_extensions_str(facts.mime_type.as_deref()?)?;
        all.first().copied()
    };
    own.or_else(of_type).map(|it| format!(".{}", it.to_ascii_lowercase())).unwrap_or_default()
}

/// The path of an open file, if it has one still.
fn of_file(file: &File) -> Option<PathBuf> {
    let path = fs::read_link(opened(file)).ok()?;
    path.is_absolute().then_some(path).filter(|path| path.is_file())
}

/// The name by which this process can open the file again.
fn opened(file: &File) -> PathBuf {
    let folder = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
    Path::new(folder).join(file.as_raw_fd().to_string())
}

fn copy(file: &File, to: &Path) -> io::Result<()> {
    match of_file(file) {
        Some(from) => reflink_copy::reflink_or_copy(from, to).map(drop)?,
        None => {
            let mut from = File::open(opened(file))?;
            io::copy(&mut from, &mut File::create_new(to)?)?;
        }
    }
    // A blob may be readable only, and so is its copy: the program may do with it what it likes.
    let mut permissions = fs::metadata(to)?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
    fs::set_permissions(to, permissions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_of_a_hostile_name_is_that_of_its_type() {
        let of = |filename: &str, mime: Option<&str>| {
            ending(&FileFacts {
                filename: filename.to_owned(),
                mime_type: mime.map(str::to_owned),
                ..FileFacts::default()
            })
        };
        assert_eq!(of("a.JPG", None), ".jpg");
        assert_eq!(of("$(touch x).mp4; rm -rf /", Some("application/pdf")), ".pdf");
        assert_eq!(of("a.j\npg", Some("image/png")), ".png");
        assert_eq!(of("-rf", None), "");
    }
}
