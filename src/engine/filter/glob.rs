//! Globs, and what each is checked against.

use globset::{GlobBuilder, GlobMatcher};

use crate::model::{EntryPath, FieldProblem};

/// One glob, with what it is checked against.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) text: String,
    matcher: GlobMatcher,
    /// Matched against the whole path; else against the file's name.
    whole_path: bool,
}

impl Pattern {
    /// Whether it looks at more of a path than the file's own name.
    pub(super) fn looks_at_folders(&self) -> bool {
        self.whole_path
    }

    pub(super) fn matches(&self, path: &EntryPath) -> bool {
        let subject = if self.whole_path { path.as_bytes() } else { path.file_name() };
        self.matcher.is_match_candidate(&globset::Candidate::from_bytes(&subject))
    }
}

/// Globs of one list.
const MAX_PATTERNS: usize = 1000;
/// Characters of a glob.
const MAX_LENGTH: usize = 1024;
/// Braces within braces of a glob: each level is one of its parser's stack.
const MAX_BRACES: usize = 32;

/// Refuses a list with more values than it may have.
pub(super) fn refuse_many(field: &str, count: usize, problems: &mut Vec<FieldProblem>) -> bool {
    let is_too_long = count > MAX_PATTERNS;
    if is_too_long {
        let message = format!("has {count} values, at most {MAX_PATTERNS} are possible");
        let problem = FieldProblem::new(field, count as u64, message);
        problems.push(problem.accepts("at most 1000 values"));
    }
    is_too_long
}

/// What exceeds the bounds of a glob, if anything does.
fn excess(glob: &str) -> Option<String> {
    let length = glob.chars().count();
    if length > MAX_LENGTH {
        return Some(format!("it has {length} characters, at most {MAX_LENGTH} are possible"));
    }
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in glob.bytes() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    (deepest > MAX_BRACES).then(|| {
        format!("its braces are nested {deepest} levels deep, at most {MAX_BRACES} are possible")
    })
}

/// What to write, for people.
const ACCEPTED: &str = "a pattern, as in *.jpg, 2026/**, cache/* or *.{jpg,png}";

/// Compiles globs; those that are none become problems of `field`.
pub(super) fn patterns(
    field: &str,
    globs: &[String],
    problems: &mut Vec<FieldProblem>,
) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    if refuse_many(field, globs.len(), problems) {
        return patterns;
    }
    for (index, glob) in globs.iter().enumerate() {
        if let Some(excess) = excess(glob) {
            let shown = glob.chars().take(80).collect::<String>() + "…";
            let message = format!("the pattern is too large: {excess}");
            let problem = FieldProblem::new(format!("{field}.{index}"), shown, message);
            problems.push(problem.accepts(ACCEPTED));
            continue;
        }
        match spellings(glob) {
            Ok(more) => patterns.extend(more),
            Err(reason) => {
                let message = format!("{glob:?} is not a valid pattern: {reason}");
                let problem = FieldProblem::new(format!("{field}.{index}"), glob.as_str(), message);
                problems.push(problem.accepts(ACCEPTED));
            }
        }
    }
    patterns
}

fn spellings(glob: &str) -> Result<Vec<Pattern>, String> {
    let mut patterns = Vec::new();
    let mut add = |spelling: &str, whole_path: bool| {
        if spelling.is_empty() {
            return Err("it is empty".to_owned());
        }
        let matcher = GlobBuilder::new(&without_slash_in_classes(spelling))
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map_err(|error| error.kind().to_string())?
            .compile_matcher();
        patterns.push(Pattern { text: glob.to_owned(), matcher, whole_path });
        Ok(())
    };
    add(glob, glob.contains('/'))?;
    // What people write besides the plain rule: a folder by its name with a `/` behind it, and the
    // root by a `/` in front. Keys that are spelled so match as well.
    if let Some(folder) = glob.strip_suffix('/') {
        add(&format!("{}/**", folder.trim_start_matches('/')), true)?;
        if !folder.contains('/') {
            add(&format!("**/{folder}/**"), true)?;
        }
    } else if let Some(anchored) = glob.strip_prefix('/') {
        add(anchored, true)?;
    }
    Ok(patterns)
}

/// The glob for a compiler to which `[!a]` matches a `/` too, although `?` does not.
fn without_slash_in_classes(glob: &str) -> String {
    let mut spelled = String::with_capacity(glob.len());
    let mut rest = glob;
    while let Some(at) = rest.find(['\\', '[']) {
        let (before, from) = rest.split_at(at);
        spelled.push_str(before);
        let len = match Class::of(from) {
            Some(class) => {
                spelled.push_str(&class.without_slash());
                class.len
            }
            None => {
                let len = from.chars().take(2).map(char::len_utf8).sum();
                spelled.push_str(&from[..len]);
                len
            }
        };
        rest = &from[len..];
    }
    spelled + rest
}

/// `[ab]` or `[!ab]` at the beginning of a text.
struct Class<'g> {
    is_negated: bool,
    members: &'g str,
    /// Bytes of the whole.
    len: usize,
}

impl<'g> Class<'g> {
    fn of(text: &'g str) -> Option<Self> {
        let inside = text.strip_prefix('[')?;
        let members = inside.strip_prefix(['!', '^']).unwrap_or(inside);
        // A bracket that comes first is a member.
        let first = members.chars().next()?.len_utf8();
        let end = first + members[first..].find(']')?;
        let len = text.len() - members.len() + end + 1;
        let is_negated = members.len() < inside.len();
        Some(Self { is_negated, members: &members[..end], len })
    }

    /// The slash goes where it is no end of a range.
    fn without_slash(&self) -> String {
        let members = self.members;
        if !self.is_negated {
            return format!("[{members}]");
        }
        if !members.starts_with(['-', ']']) {
            return format!("[!/{members}]");
        }
        match members.strip_suffix('-') {
            Some(others) => format!("[!{others}/-]"),
            None => format!("[!{members}/]"),
        }
    }
}

#[cfg(test)]
#[path = "glob_tests.rs"]
mod tests;
