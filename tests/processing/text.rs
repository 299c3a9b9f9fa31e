//! What `text` reads, and that it is found again.

use std::{process::Command, time::Duration};

use serde_json::{Map, Value, json};

use crate::{
    asked::Asked,
    files,
    ledger::{DEADLINE, Fixture},
    support::catchment::poll_until,
};

const WORD: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
const SLIDES: &str = "application/vnd.openxmlformats-officedocument.presentationml.presentation";
const SHEET: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/// The words of a document, with one space between them.
fn words(document: &Map<String, Value>) -> String {
    document["text"].as_str().unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_pdf_becomes_a_document_for_each_page_that_has_words() {
    let first = "BT /F 12 Tf 72 700 Td (Quarterly) Tj 60 0 Td (results) Tj 0 -14 Td \
                 [(Wo) 20 (rd) -400 (g\\344p)] TJ ET";
    let file = files::pages(&[first, "0 0 m 10 10 l S", "BT /F 9 Tf 72 700 Td (Last page) Tj ET"]);
    let found = Asked::new().text("application/pdf", &file, json!({})).await;
    assert_eq!(found.len(), 2);
    assert_eq!(words(&found[0]), "Quarterly results Word gäp");
    assert_eq!((&found[0]["page"], &found[0]["index"]), (&json!(1), &json!(0)));
    assert_eq!((words(&found[1]), &found[1]["page"]), ("Last page".to_owned(), &json!(3)));
}

#[tokio::test]
async fn a_pdf_whose_codes_only_a_map_explains_is_read_by_that_map() {
    let map = "/CIDInit /ProcSet findresource begin 12 dict begin begincmap \
               1 begincodespacerange <0000> <ffff> endcodespacerange \
               2 beginbfchar <0001> <00c4> <0002> <d83dde00> endbfchar \
               1 beginbfrange <0010> <0012> <0061> endbfrange endcmap end end";
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>"
            .to_owned(),
        files::stream("", "BT /F 10 Tf 72 700 Td <0001001000110012> Tj <0002> Tj ET"),
        "<< /Type /Font /Subtype /Type0 /BaseFont /X /Encoding /Identity-H /ToUnicode 6 0 R \
         /DescendantFonts [7 0 R] >>"
            .to_owned(),
        files::stream("", map),
        "<< /Type /Font /Subtype /CIDFontType2 /BaseFont /X /DW 500 /W [1 [600] 16 18 400] >>"
            .to_owned(),
    ];
    let found = Asked::new().text("application/pdf", &files::pdf(&objects, ""), json!({})).await;
    assert_eq!(words(&found[0]), "Äabc😀");
}

#[tokio::test]
async fn text_of_pdfs_is_what_pdftotext_reads() {
    let folder = tempfile::tempdir().unwrap();
    let drawn = "BT /F 11 Tf 14 TL 72 720 Td (The quick brown fox) Tj T* (jumps over the) Tj T* \
                 (lazy dog.) Tj ET BT /F 11 Tf 1 0 0 1 300 720 Tm (Second) Tj ( column) ' ET";
    let file = files::pages(&[drawn]);
    let path = folder.path().join("a.pdf");
    std::fs::write(&path, &file).unwrap();
    let theirs = Command::new("pdftotext").args(["-raw"]).arg(&path).arg("-").output().unwrap();
    assert!(theirs.status.success());
    let theirs = String::from_utf8(theirs.stdout).unwrap();
    let theirs = theirs.split_whitespace().collect::<Vec<_>>().join(" ");
    let ours = Asked::new().text("application/pdf", &file, json!({})).await;
    assert_eq!(words(&ours[0]), theirs);
}

#[tokio::test]
async fn a_word_file_becomes_a_document_for_each_heading_whatever_its_language() {
    let styles = "<w:styles><w:style w:styleId='berschrift1'><w:name w:val='heading 1'/></w:style>\
                  <w:style w:styleId='Normal'><w:name w:val='Normal'/></w:style></w:styles>";
    let paragraph = |style: &str, text: &str| {
        format!("<w:p><w:pPr><w:pStyle w:val='{style}'/></w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>")
    };
    let cell = |text: &str| format!("<w:tc>{}</w:tc>", paragraph("Normal", text));
    let body = [
        paragraph("Normal", "before"),
        paragraph("berschrift1", "One &amp; only"),
        "<w:p><w:r><w:t>first</w:t></w:r><w:del><w:r><w:delText>gone</w:delText></w:r></w:del>\
         <w:r><w:tab/><w:t>second</w:t></w:r></w:p>"
            .to_owned(),
        format!("<w:tbl><w:tr>{}{}</w:tr></w:tbl>", cell("left"), cell("right")),
        paragraph("berschrift1", "Two"),
    ];
    let document = format!("<w:document><w:body>{}</w:body></w:document>", body.concat());
    let notes = format!("<w:footnotes>{}</w:footnotes>", paragraph("Normal", "a note"));
    let file = files::office(&[
        ("word/document.xml", &document),
        ("word/styles.xml", styles),
        ("word/footnotes.xml", &notes),
    ]);
    let found = Asked::new().text(WORD, &file, json!({})).await;
    let all: Vec<_> = found.iter().map(words).collect();
    assert_eq!(all, ["before", "One & only first second left right", "Two a note"]);
    assert_eq!(found[1]["heading"], "One & only");
    assert!(found[1]["text"].as_str().unwrap().contains("left\tright"));
}

#[tokio::test]
async fn a_presentation_becomes_a_document_for_each_slide_in_the_order_of_the_show() {
    let shape = |kind: &str, text: &str| {
        format!(
            "<p:sp><p:nvSpPr><p:nvPr><p:ph type='{kind}'/></p:nvPr></p:nvSpPr><p:txBody><a:p><a:r>\
             <a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"
        )
    };
    let slide = |title: &str, text: &str| {
        format!(
            "<p:sld>{}{}{}</p:sld>",
            shape("title", title),
            shape("body", text),
            shape("sldNum", "7")
        )
    };
    let relation = |id: &str, kind: &str, target: &str| {
        format!("<Relationship Id='{id}' Type='http://x/{kind}' Target='{target}'/>")
    };
    let deck = "<p:presentation><p:sldIdLst><p:sldId id='256' r:id='rId2'/>\
                <p:sldId id='257' r:id='rId1'/></p:sldIdLst></p:presentation>";
    let relations = format!(
        "<Relationships>{}{}</Relationships>",
        relation("rId1", "slide", "slides/slide1.xml"),
        relation("rId2", "slide", "slides/slide2.xml"),
    );
    let notes = format!(
        "<Relationships>{}</Relationships>",
        relation("rId1", "notesSlide", "../notesSlides/notesSlide1.xml")
    );
    let file = files::office(&[
        ("ppt/presentation.xml", deck),
        ("ppt/_rels/presentation.xml.rels", &relations),
        ("ppt/slides/slide1.xml", &slide("Thanks", "questions")),
        ("ppt/slides/slide2.xml", &slide("Welcome", "agenda")),
        ("ppt/slides/_rels/slide2.xml.rels", &notes),
        ("ppt/notesSlides/notesSlide1.xml", &shape("body", "smile")),
    ]);
    let asked = Asked::new();
    let found = asked.text(SLIDES, &file, json!({})).await;
    let all: Vec<_> = found.iter().map(words).collect();
    assert_eq!(all, ["Welcome agenda smile", "Thanks questions"]);
    assert_eq!((&found[0]["page"], &found[0]["heading"]), (&json!(1), &json!("Welcome")));

    let parameters = json!({"max_document_pages": 1});
    let timeout = Duration::from_secs(60);
    let cut = asked.of_type("text", Some(SLIDES), &file, parameters, timeout).await.unwrap();
    assert_eq!(cut.documents.len(), 1);
    assert_eq!(cut.left_out, ["1 pages behind max_document_pages"]);
}

#[tokio::test]
async fn a_workbook_becomes_a_document_for_each_sheet() {
    let book = "<workbook><sheets><sheet name='Prices' sheetId='1' r:id='r1'/></sheets></workbook>";
    let relations = "<Relationships><Relationship Id='r1' Type='http://x/worksheet' \
                     Target='/xl/worksheets/sheet1.xml'/></Relationships>";
    let strings = "<sst><si><t>apple</t></si><si><r><t>pe</t></r><r><t>ar</t></r></si></sst>";
    let sheet = "<worksheet><sheetData><row><c t='s'><v>1</v></c><c><v>2.5</v></c></row>\
                 <row><c t='s'><v>0</v></c><c t='inlineStr'><is><t>free</t></is></c></row>\
                 </sheetData></worksheet>";
    let file = files::office(&[
        ("xl/workbook.xml", book),
        ("xl/_rels/workbook.xml.rels", relations),
        ("xl/sharedStrings.xml", strings),
        ("xl/worksheets/sheet1.xml", sheet),
    ]);
    let found = Asked::new().text(SHEET, &file, json!({})).await;
    assert_eq!(found[0]["heading"], "Prices");
    assert_eq!(found[0]["text"], "Prices\n\npear\t2.5\napple\tfree");
}

#[tokio::test]
async fn open_documents_and_books_are_read_too() {
    let asked = Asked::new();
    let content = "<office:document-content><text:h>Head</text:h><text:p>two<text:s text:c='2'/>\
                   words</text:p></office:document-content>";
    let file = files::office(&[
        ("mimetype", "application/vnd.oasis.opendocument.text"),
        ("content.xml", content),
    ]);
    let found = asked.text("application/vnd.oasis.opendocument.text", &file, json!({})).await;
    assert_eq!((&found[0]["heading"], words(&found[0])), (&json!("Head"), "Head two words".into()));

    let listing = "<package><manifest><item id='b' href='b.xhtml'/><item id='a' href='a%20a.xhtml'/>\
                   </manifest><spine><itemref idref='a'/><itemref idref='b'/></spine></package>";
    let file = files::office(&[
        ("META-INF/container.xml", "<container><rootfile full-path='o/x.opf'/></container>"),
        ("o/x.opf", listing),
        ("o/a a.xhtml", "<html><h1>First</h1><p>once</p></html>"),
        ("o/b.xhtml", "<html><h1>Second</h1><p>upon</p></html>"),
    ]);
    let found = asked.text("application/epub+zip", &file, json!({})).await;
    assert_eq!(found.iter().map(words).collect::<Vec<_>>(), ["First once", "Second upon"]);
}

#[tokio::test]
async fn web_pages_markdown_json_tables_and_plain_text_are_read_as_people_see_them() {
    let asked = Asked::new();
    let one = async |mime: &str, text: &str| {
        let found = asked.text(mime, text.as_bytes(), json!({"split_by": "none"})).await;
        found[0]["text"].as_str().unwrap().trim().to_owned()
    };
    assert_eq!(one("text/html", "<p>a &lt; b<script>no()</script>").await, "a < b");
    assert_eq!(one("text/markdown", "# Head\nbody").await, "Head\n\nbody");
    assert_eq!(one("application/json", r#"{"a":{"b":[1,"two"]}}"#).await, "a.b.0: 1\na.b.1: two");
    assert_eq!(one("text/csv", "a,b\n1,2\n").await, "a,b\n1,2");
    assert_eq!(one("text/plain", "just words").await, "just words");
}

#[tokio::test]
async fn a_file_without_words_is_reported_and_one_that_cannot_be_read_says_why() {
    let asked = Asked::new();
    let scan = files::pages(&["q 1 0 0 1 0 0 cm Q"]);
    let found = asked.of("text", &scan, json!({})).await.unwrap();
    assert_eq!(found.documents.len(), 0);
    assert!(found.left_out[0].contains("no text"), "{:?}", found.left_out);
    for (bytes, reason) in [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1old".as_slice(), "before 2007"),
        (b"{\\rtf1 words}", "RTF"),
        (b"\x00\x01\x02", "no text in any encoding"),
        (b"%PDF-1.4 and nothing else", "damaged"),
        (b"PK\x03\x04 broken", "damaged"),
    ] {
        let failed = asked.of("text", bytes, json!({})).await.unwrap_err();
        assert!(failed.message.contains(reason), "{failed}");
    }
}

#[test]
fn documents_are_found_by_every_word_of_them_and_by_the_beginning_of_the_last() {
    let here = Fixture::new();
    let collection = json!({
        "collection_name": "words",
        "source": {"type": "bucket", "bucket_ids": ["films"]},
        "feature_extractor": {
            "feature_extractor_name": "text", "version": "v1",
            "parameters": {"chunk_size": 200},
            "field_passthrough": [{"source_path": "key_prefix", "target_path": "path"}],
        },
    });
    here.server.post("/v1/collections", &collection).is(200);
    let page = "BT /F 12 Tf 72 700 Td (Annual results of the company) Tj ET";
    here.tree.write("report.pdf", files::pages(&[page]));
    here.tree.write("page.html", "<h1>Company</h1><p>Nothing annual here, Zürich</p>");
    here.tree.write("long.txt", format!("{} needle", "hay stack ".repeat(100)));
    here.sync(json!({}));
    here.settled();
    let search = |words: &str| {
        let target = "/v1/collections/words/documents/list";
        let listed = here.server.post(target, &json!({"search": words, "limit": 100})).is(200);
        let rows = listed["results"].as_array().unwrap().clone();
        let mut paths: Vec<_> =
            rows.iter().map(|row| row["path"].as_str().unwrap().to_owned()).collect();
        paths.sort();
        paths
    };
    poll_until("the documents", DEADLINE, || (!search("needle").is_empty()).then_some(()));
    assert_eq!(search("annual company"), ["page.html", "report.pdf"]);
    assert_eq!(search("results ann"), ["report.pdf"]);
    assert_eq!(search("zurich"), ["page.html"]);
    assert_eq!(search("needle"), ["long.txt"], "one piece of six");
    assert_eq!(search("annual needle"), Vec::<String>::new());
}
