//! Files that tests make: archives, PDFs, pictures, films.

use std::{fmt::Write as _, io::Write as _};

use image::{ImageFormat, Rgb, RgbImage};

/// A zip with these files in it, compressed.
pub fn zip(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut archive = rawzip::ZipArchiveWriter::new(&mut bytes);
    for (name, content) in parts {
        let (mut entry, config) = archive
            .new_file(*name)
            .compression_method(rawzip::CompressionMethod::DEFLATE)
            .start()
            .unwrap();
        let encoder = flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::fast());
        let mut writer = config.wrap(encoder);
        writer.write_all(content).unwrap();
        let (encoder, descriptor) = writer.finish().unwrap();
        encoder.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    bytes
}

/// An Office file of these parts.
pub fn office(parts: &[(&str, &str)]) -> Vec<u8> {
    let parts: Vec<(&str, &[u8])> =
        parts.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    zip(&parts)
}

/// A PDF of these objects, the first of which is the catalog; `trailer` is added to its trailer.
pub fn pdf(objects: &[String], trailer: &str) -> Vec<u8> {
    let mut file = String::from("%PDF-1.7\n");
    let mut places = Vec::new();
    for (number, object) in (1..).zip(objects) {
        places.push(file.len());
        write!(file, "{number} 0 obj\n{object}\nendobj\n").unwrap();
    }
    let table = file.len();
    write!(file, "xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).unwrap();
    for place in places {
        writeln!(file, "{place:010} 00000 n ").unwrap();
    }
    let size = objects.len() + 1;
    write!(file, "trailer\n<< /Size {size} /Root 1 0 R {trailer} >>\nstartxref\n{table}\n%%EOF\n")
        .unwrap();
    file.into_bytes()
}

/// A stream as an object of a PDF.
pub fn stream(dict: &str, content: &str) -> String {
    format!("<< {dict} /Length {} >>\nstream\n{content}\nendstream", content.len())
}

/// A PDF with a page for each of these contents, drawn in Helvetica, which they call `/F`.
pub fn pages(contents: &[&str]) -> Vec<u8> {
    let font = 3 + contents.len() * 2;
    let numbers: Vec<String> =
        (0..contents.len()).map(|page| format!("{} 0 R", 3 + page * 2)).collect();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!("<< /Type /Pages /Kids [{}] /Count {} >>", numbers.join(" "), contents.len()),
    ];
    for (page, content) in contents.iter().enumerate() {
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {} 0 R \
             /Resources << /Font << /F {font} 0 R >> >> >>",
            4 + page * 2
        ));
        objects.push(stream("", content));
    }
    objects.push(
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
            .to_owned(),
    );
    let info = font + 1;
    objects.push(
        "<< /Title (A report) /Author (Ada) /CreationDate (D:20240506070809+02'00') >>".to_owned(),
    );
    pdf(&objects, &format!("/Info {info} 0 R"))
}

/// A picture of that size with a bright upper left corner.
pub fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let shade = |x: u32, y: u32| 255 - (x * 200 / width + y * 50 / height) as u8;
    let picture = RgbImage::from_fn(width, height, |x, y| Rgb([shade(x, y), shade(x, y), 30]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A box of an MP4 file.
pub fn mp4_box(name: &str, content: &[u8]) -> Vec<u8> {
    let mut bytes = (content.len() as u32 + 8).to_be_bytes().to_vec();
    bytes.extend(name.as_bytes());
    bytes.extend(content);
    bytes
}

/// An MP4 film of two seconds with 50 pictures of 640 by 360 and stereo sound, as far as its header
/// goes.
pub fn mp4() -> Vec<u8> {
    let numbers = |numbers: &[u32]| -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
    };
    let handler = |kind: &str| {
        let mut content = vec![0; 8];
        content.extend(kind.as_bytes());
        content.extend([0; 13]);
        mp4_box("hdlr", &content)
    };
    let track = |kind: &str, entry: Vec<u8>, scale: u32, times: [u32; 2]| {
        let mut described = numbers(&[0, 1]);
        described.extend(entry);
        let table =
            [mp4_box("stsd", &described), mp4_box("stts", &numbers(&[0, 1, times[0], times[1]]))];
        let information = mp4_box("minf", &mp4_box("stbl", &table.concat()));
        let header = mp4_box("mdhd", &numbers(&[0, 0, 0, scale, scale * 2, 0]));
        mp4_box("trak", &mp4_box("mdia", &[header, handler(kind), information].concat()))
    };
    let mut picture = vec![0; 24];
    picture.extend([0x02, 0x80, 0x01, 0x68]);
    picture.extend([0; 50]);
    let mut sound = vec![0; 16];
    sound.extend([0, 2, 0, 16, 0, 0, 0, 0, 0xbb, 0x80, 0, 0]);
    let movie = [
        mp4_box("mvhd", &[numbers(&[0, 0, 0, 1000, 2000]), vec![0; 80]].concat()),
        track("vide", mp4_box("avc1", &picture), 12_800, [50, 512]),
        track("soun", mp4_box("mp4a", &sound), 48_000, [94, 1024]),
    ];
    let brand = mp4_box("ftyp", b"isom\0\0\x02\0isomiso2avc1mp41");
    [brand, mp4_box("moov", &movie.concat())].concat()
}

/// An element of a Matroska file.
pub fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
    let mut bytes = id.to_vec();
    bytes.extend((content.len() as u64 | 1 << 56).to_be_bytes());
    bytes.extend(content);
    bytes
}

/// A WebM film of one and a half seconds at 25 pictures a second, as far as its header goes.
pub fn webm() -> Vec<u8> {
    let head = element(
        b"\x1a\x45\xdf\xa3",
        &[element(b"\x42\x86", &[1]), element(b"\x42\x82", b"webm")].concat(),
    );
    let info = element(
        b"\x15\x49\xa9\x66",
        &[
            element(b"\x2a\xd7\xb1", &1_000_000_u32.to_be_bytes()),
            element(b"\x44\x89", &1500.0_f64.to_be_bytes()),
            element(b"\x7b\xa9", "A film".as_bytes()),
        ]
        .concat(),
    );
    let size = [element(b"\xb0", &[0x05, 0]), element(b"\xba", &[0x02, 0xd0])].concat();
    let video = [
        element(b"\x83", &[1]),
        element(b"\x86", b"V_VP9"),
        element(b"\x23\xe3\x83", &40_000_000_u32.to_be_bytes()),
        element(b"\xe0", &size),
    ];
    let sound = [element(b"\x9f", &[2]), element(b"\xb5", &48_000.0_f32.to_be_bytes())];
    let audio =
        [element(b"\x83", &[2]), element(b"\x86", b"A_OPUS"), element(b"\xe1", &sound.concat())];
    let tracks = [element(b"\xae", &video.concat()), element(b"\xae", &audio.concat())];
    let tracks = element(b"\x16\x54\xae\x6b", &tracks.concat());
    [head, element(b"\x18\x53\x80\x67", &[info, tracks].concat())].concat()
}

/// A raw file of a camera, as far as its directories go: a small picture for the camera's own
/// display, and a JPEG of 400 by 300 in a second directory. It lies on its side.
pub fn raw_photo() -> Vec<u8> {
    let jpeg = picture(400, 300, ImageFormat::Jpeg);
    let field = |tag: u16, value: u32| {
        let mut field = tag.to_le_bytes().to_vec();
        field.extend(4_u16.to_le_bytes());
        field.extend(1_u32.to_le_bytes());
        field.extend(value.to_le_bytes());
        field
    };
    let directory = |fields: &[Vec<u8>], next: u32| {
        let mut bytes = (fields.len() as u16).to_le_bytes().to_vec();
        bytes.extend(fields.concat());
        bytes.extend(next.to_le_bytes());
        bytes
    };
    // The header, a directory of two fields, one of two, and what it leads to.
    let (first, second) = (8, 8 + 2 + 24 + 4);
    let place = second + 2 + 24 + 4;
    let mut file = b"II\x2a\0\x08\0\0\0".to_vec();
    file.extend(directory(&[field(0x0112, 6), field(0x014a, second)], 0));
    file.extend(directory(&[field(0x0201, place), field(0x0202, jpeg.len() as u32)], first));
    file.extend(jpeg);
    file
}
