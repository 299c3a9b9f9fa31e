//! PDF: the words of each page, in the order in which they are drawn, and what the file says of
//! itself.
//!
//! The syntax of the file is a library's (`hayro-syntax`). Here are the pieces that make text of
//! it: [`font`] turns the codes of a string into characters and widths, [`page`] follows where they
//! are drawn. ISO 32000-2, chapters 7.8, 8 and 9.

mod font;
mod glyphs;
mod lines;
mod page;

use hayro_syntax::{DecryptionError, LoadPdfError, Pdf};

use super::{
    super::{Stop, permanent},
    charset,
    sections::Text,
};

/// An open PDF.
///
/// # Errors
/// When it is none, or needs a password.
pub(in super::super) fn open(bytes: Vec<u8>) -> Result<Pdf, Stop> {
    Pdf::new(bytes).map_err(|error| match error {
        LoadPdfError::Decryption(DecryptionError::PasswordProtected) => {
            permanent("the PDF can only be read with a password")
        }
        LoadPdfError::Decryption(_) => permanent("the PDF is encrypted in a way not read here"),
        LoadPdfError::Invalid => permanent("the PDF is damaged"),
    })
}

pub(super) fn read(bytes: Vec<u8>, text: &mut Text) -> Result<(), Stop> {
    let pdf = open(bytes)?;
    let mut reader = page::Reader::default();
    for (number, page) in (1..).zip(pdf.pages().iter()) {
        if text.begin_page(number) {
            text.paragraph(&reader.read(page)?)?;
        }
    }
    Ok(())
}

/// A string of the file's own dictionaries: UTF-16 or UTF-8 with its mark, else PDFDocEncoding,
/// which is near enough to windows-1252.
pub(in super::super) fn text_string(bytes: &[u8]) -> String {
    match bytes {
        [0xfe, 0xff, ..] | [0xff, 0xfe, ..] | [0xef, 0xbb, 0xbf, ..] => {
            charset::decode(bytes.to_vec()).unwrap_or_default()
        }
        _ => bytes.iter().map(|byte| charset::windows_1252(*byte)).collect(),
    }
}
