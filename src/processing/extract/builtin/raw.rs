//! The pictures that cameras put into their raw files for people to look at: JPEGs within a TIFF.
//! What the sensor saw is not developed here.
//!
//! TIFF 6.0 and its supplement 1; DNG 1.7.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
};

/// Directories that are looked at.
const DIRECTORIES: usize = 64;
/// Fields of one directory.
const FIELDS: u16 = 512;
/// Bytes of a picture.
const PICTURE_BYTES: u32 = 64 * 1024 * 1024;

const COMPRESSION: u16 = 0x0103;
const STRIP_OFFSETS: u16 = 0x0111;
const ORIENTATION: u16 = 0x0112;
const STRIP_LENGTHS: u16 = 0x0117;
const SUB_DIRECTORIES: u16 = 0x014a;
const JPEG_OFFSET: u16 = 0x0201;
const JPEG_LENGTH: u16 = 0x0202;

/// Where JPEGs may be in a file, the longest first, and which way is up.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Previews {
    /// Offset and length.
    places: Vec<(u32, u32)>,
    /// As EXIF has it: 1 to 8.
    pub(super) orientation: Option<u8>,
}

impl Previews {
    /// Looks through the directories of a TIFF.
    pub(super) fn find(file: &mut File) -> Self {
        let mut previews = Self::default();
        if let Some(mut reader) = Reader::open(file) {
            reader.walk(&mut previews);
        }
        previews.places.sort_by_key(|(_, length)| std::cmp::Reverse(*length));
        previews
    }

    /// The bytes of each, the longest first.
    pub(super) fn read<'f>(&'f self, file: &'f mut File) -> impl Iterator<Item = Vec<u8>> + 'f {
        self.places.iter().filter_map(|(offset, length)| {
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start((*offset).into())).ok()?;
            (&mut *file).take((*length).into()).read_to_end(&mut bytes).ok()?;
            bytes.starts_with(b"\xff\xd8").then_some(bytes)
        })
    }
}

struct Reader<'f> {
    file: &'f mut File,
    is_big_endian: bool,
    next: Vec<u32>,
}

impl<'f> Reader<'f> {
    fn open(file: &'f mut File) -> Option<Self> {
        let mut header = [0; 8];
        file.seek(SeekFrom::Start(0)).ok()?;
        file.read_exact(&mut header).ok()?;
        let is_big_endian = match &header[..2] {
            b"II" => false,
            b"MM" => true,
            _ => return None,
        };
        let mut reader = Self { file, is_big_endian, next: Vec::new() };
        let first = reader.long(&header[4..]);
        reader.next.push(first);
        Some(reader)
    }

    fn walk(&mut self, previews: &mut Previews) {
        let mut seen = Vec::new();
        while let Some(at) = self.next.pop() {
            if at == 0 || seen.contains(&at) || seen.len() == DIRECTORIES {
                continue;
            }
            seen.push(at);
            self.directory(at, previews);
        }
    }

    fn directory(&mut self, at: u32, previews: &mut Previews) -> Option<()> {
        let mut count = [0; 2];
        self.file.seek(SeekFrom::Start(at.into())).ok()?;
        self.file.read_exact(&mut count).ok()?;
        let count = self.short(&count).min(FIELDS);
        let mut fields = vec![0; usize::from(count) * 12 + 4];
        self.file.read_exact(&mut fields).ok()?;
        let (all, last) = fields.split_at(fields.len() - 4);
        self.next.push(self.long(last));
        let (mut jpeg, mut strip) = ((0, 0), (0, 0));
        let mut is_jpeg = false;
        for field in all.as_chunks::<12>().0 {
            let (tag, kind, many) =
                (self.short(field), self.short(&field[2..]), self.long(&field[4..]));
            let value = match kind {
                3 => u32::from(self.short(&field[8..])),
                _ => self.long(&field[8..]),
            };
            match tag {
                COMPRESSION => is_jpeg = matches!(value, 6 | 7),
                STRIP_OFFSETS if many == 1 => strip.0 = value,
                STRIP_LENGTHS if many == 1 => strip.1 = value,
                JPEG_OFFSET => jpeg.0 = value,
                JPEG_LENGTH => jpeg.1 = value,
                ORIENTATION => {
                    let known = u8::try_from(value).ok().filter(|value| (1..=8).contains(value));
                    previews.orientation = previews.orientation.or(known);
                }
                SUB_DIRECTORIES if many == 1 => self.next.push(value),
                SUB_DIRECTORIES => self.offsets(value, many),
                _ => {}
            }
        }
        let found = [jpeg, if is_jpeg { strip } else { (0, 0) }];
        let is_possible =
            |(offset, length): &(u32, u32)| *offset > 0 && (1..=PICTURE_BYTES).contains(length);
        previews.places.extend(found.iter().filter(|place| is_possible(place)));
        Some(())
    }

    fn offsets(&mut self, at: u32, many: u32) {
        let mut bytes = vec![0; many.min(16) as usize * 4];
        if self.file.seek(SeekFrom::Start(at.into())).is_ok()
            && self.file.read_exact(&mut bytes).is_ok()
        {
            let offsets: Vec<u32> =
                bytes.as_chunks::<4>().0.iter().map(|four| self.long(four)).collect();
            self.next.extend(offsets);
        }
    }

    fn short(&self, bytes: &[u8]) -> u16 {
        let pair = [bytes[0], bytes[1]];
        if self.is_big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
    }

    fn long(&self, bytes: &[u8]) -> u32 {
        let four = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if self.is_big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
    }
}
