//! An S3 of our own, for what no real server does on demand: it holds every key that S3 allows
//! under its exact bytes, checks signatures, counts requests, and fails by script.
//!
//! Built from Amazon's reference, not from what Catchment sends:
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html> and
//! `API_GetObject.html` beside it. A bucket is named by the path, or by the host where that is
//! `BUCKET.localhost`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use md5::Digest as _;

use super::{
    Endpoint,
    sigv4::{self, Account, Clock},
    wire::{self, Answer, Delivery, Reply, Request, Wire},
};

/// What a bucket holds under a key.
#[derive(Clone, Debug)]
pub struct Object {
    bytes: Arc<Vec<u8>>,
    etag: String,
    modified: Timestamp,
    content_type: String,
    metadata: Vec<(String, String)>,
    tags: Vec<(String, String)>,
    checksum: Option<(String, String)>,
    storage_class: String,
    restored: bool,
    /// What its bytes unpack to, where they are packed.
    unpacked: Option<Arc<Vec<u8>>>,
}

impl Object {
    /// An ordinary object with these bytes, written now.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = Arc::new(bytes.into());
        let md5: String =
            md5::Md5::digest(&*bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let etag = format!("\"{md5}\"");
        Self {
            bytes,
            etag,
            modified: Timestamp::now(),
            content_type: "binary/octet-stream".to_owned(),
            metadata: Vec::new(),
            tags: Vec::new(),
            checksum: None,
            storage_class: "STANDARD".to_owned(),
            restored: false,
            unpacked: None,
        }
    }

    /// Stored packed (`Content-Encoding: gzip`), for a server that unpacks it to these bytes.
    pub fn unpacks_to(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.unpacked = Some(Arc::new(bytes.into()));
        self
    }

    /// Tagged so, whatever its bytes are.
    pub fn etag(mut self, tag: &str) -> Self {
        self.etag = format!("\"{tag}\"");
        self
    }

    /// With this media type.
    pub fn content_type(mut self, content_type: &str) -> Self {
        self.content_type = content_type.to_owned();
        self
    }

    /// With `x-amz-meta-NAME: value`.
    pub fn metadata(mut self, name: &str, value: &str) -> Self {
        self.metadata.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a tag.
    pub fn tag(mut self, name: &str, value: &str) -> Self {
        self.tags.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With `x-amz-checksum-ALGORITHM: value` for who asks for it.
    pub fn checksum(mut self, algorithm: &str, value: &str) -> Self {
        self.checksum = Some((format!("x-amz-checksum-{algorithm}"), value.to_owned()));
        self
    }

    /// In another storage class than STANDARD.
    pub fn storage_class(mut self, class: &str) -> Self {
        self.storage_class = class.to_owned();
        self
    }

    /// Restored from its archive for the time being.
    pub fn restored(mut self) -> Self {
        self.restored = true;
        self
    }

    /// Last written at this second.
    pub fn modified(mut self, second: i64) -> Self {
        self.modified = Timestamp::from_second(second).unwrap();
        self
    }

    fn is_archived(&self) -> bool {
        matches!(self.storage_class.as_str(), "GLACIER" | "DEEP_ARCHIVE") && !self.restored
    }
}

/// The objects of a bucket, in the order in which S3 lists them: by the bytes of their keys.
pub type Objects = BTreeMap<Vec<u8>, Object>;

/// The kinds of request that a sync can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ListObjectsV2
    List,
    /// GetObject
    Get,
    /// HeadObject
    Head,
    /// GetObjectTagging
    Tags,
    /// Anything else.
    Other,
}

/// A request that the server has seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What it was.
    pub kind: Kind,
    /// The object's key, where it has one.
    pub key: Vec<u8>,
    /// As it came.
    pub request: Request,
    /// When it came.
    pub at: Instant,
    sent: Arc<AtomicU64>,
}

impl Seen {
    /// Bytes of the answer's body that went out.
    pub fn bytes_sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// How a server differs from Amazon's, for every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// `Range` is ignored.
    IgnoresRanges,
    /// `Range` is answered with 416.
    RefusesRanges,
    /// Packed objects are unpacked for who does not send `Accept-Encoding: gzip`, and their length
    /// is not told then, as Google does it.
    Unpacks,
    /// The same, with the length of what is sent.
    UnpacksAndTellsTheLength,
    /// No answer with an object tells its length.
    TellsNoLength,
    /// Reads name the tag of the listing weakly.
    WeakTags,
    /// Reads name another tag than the listing, each kind its own.
    OtherTags,
}

/// Which requests a fault strikes.
pub enum On {
    /// Listings.
    Listing,
    /// Reads of any object.
    AnyGet,
    /// Reads of the object with this key.
    GetOf(&'static str),
    /// Reads of the object with this key, and looks at its headers.
    Object(&'static str),
    /// Reads of the tags of the object with this key.
    TagsOf(&'static str),
    /// Every request.
    Anything,
}

/// What goes wrong.
enum Trouble {
    /// An error in S3's form.
    Error { status: u16, code: &'static str, retry_after: Option<u32> },
    /// Another body under the same status.
    Body(Vec<u8>),
    /// The right answer with only the first half of its body, as if that were all.
    HalfBody,
    /// The right answer, delivered badly.
    Delivery(Delivery),
    /// No answer.
    Reset,
    /// A redirect.
    Redirect(String),
    /// The listing says that it ends here.
    ListingEnds,
    /// The listing says that it goes on, but not where.
    ListingLosesItsToken,
    /// The listing encodes its keys, except for each `+`.
    ListingLeavesPlus,
    /// A page without keys that goes on at a token of its own.
    EmptyPage,
    /// The world changes before the answer.
    First(Box<dyn Fn(&mut Objects) + Send>),
}

/// A scripted fault. Strikes every matching request unless narrowed down.
pub struct Fault {
    on: On,
    skip: usize,
    times: usize,
    share: Option<(fastrand::Rng, u8)>,
    trouble: Trouble,
}

impl Fault {
    fn new(on: On, trouble: Trouble) -> Self {
        Self { on, skip: 0, times: usize::MAX, share: None, trouble }
    }

    /// Answers with an error of S3.
    pub fn error(on: On, status: u16, code: &'static str) -> Self {
        Self::new(on, Trouble::Error { status, code, retry_after: None })
    }

    /// Answers 503 SlowDown and says when to come back, in seconds.
    pub fn slow_down(on: On, retry_after: u32) -> Self {
        let retry_after = Some(retry_after);
        Self::new(on, Trouble::Error { status: 503, code: "SlowDown", retry_after })
    }

    /// Answers 429 and says when to come back, in seconds.
    pub fn too_many_requests(on: On, retry_after: u32) -> Self {
        let retry_after = Some(retry_after);
        Self::new(on, Trouble::Error { status: 429, code: "TooManyRequests", retry_after })
    }

    /// Answers with another body.
    pub fn body(on: On, body: impl Into<Vec<u8>>) -> Self {
        Self::new(on, Trouble::Body(body.into()))
    }

    /// Answers with half of the body and says that this is all.
    pub fn half_body(on: On) -> Self {
        Self::new(on, Trouble::HalfBody)
    }

    /// Delivers the right answer badly.
    pub fn delivery(on: On, delivery: Delivery) -> Self {
        Self::new(on, Trouble::Delivery(delivery))
    }

    /// Tears the connection down.
    pub fn reset(on: On) -> Self {
        Self::new(on, Trouble::Reset)
    }

    /// Sends the client elsewhere, to the same path and query.
    pub fn redirect(on: On, to: &str) -> Self {
        Self::new(on, Trouble::Redirect(to.to_owned()))
    }

    /// Listings that say they are complete when they are not.
    pub fn listing_ends() -> Self {
        Self::new(On::Listing, Trouble::ListingEnds)
    }

    /// Listings that are truncated and carry no token to go on with.
    pub fn listing_loses_its_token() -> Self {
        Self::new(On::Listing, Trouble::ListingLosesItsToken)
    }

    /// Listings whose every page is empty and goes on at a new token.
    pub fn empty_pages() -> Self {
        Self::new(On::Listing, Trouble::EmptyPage)
    }

    /// Listings that encode keys and leave `+` as it is, which then reads as a space.
    pub fn listing_leaves_plus() -> Self {
        Self::new(On::Listing, Trouble::ListingLeavesPlus)
    }

    /// Changes the objects, then answers rightly.
    pub fn first(on: On, change: impl Fn(&mut Objects) + Send + 'static) -> Self {
        Self::new(on, Trouble::First(Box::new(change)))
    }

    /// Lets the first `skip` matching requests pass.
    pub fn after(mut self, skip: usize) -> Self {
        self.skip = skip;
        self
    }

    /// Strikes so many times, then is over.
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Strikes so many in a hundred, drawn from `seed`.
    pub fn percent(mut self, percent: u8, seed: u64) -> Self {
        self.share = Some((fastrand::Rng::with_seed(seed), percent));
        self
    }

    fn matches(&self, kind: Kind, key: &[u8]) -> bool {
        match self.on {
            On::Listing => kind == Kind::List,
            On::AnyGet => kind == Kind::Get,
            On::GetOf(wanted) => kind == Kind::Get && key == wanted.as_bytes(),
            On::Object(wanted) => {
                matches!(kind, Kind::Get | Kind::Head) && key == wanted.as_bytes()
            }
            On::TagsOf(wanted) => kind == Kind::Tags && key == wanted.as_bytes(),
            On::Anything => true,
        }
    }

    /// Counts the matching request; tells whether the fault strikes it.
    fn strikes(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if self.times == 0 {
            return false;
        }
        if let Some((rng, percent)) = &mut self.share
            && rng.u8(0..100) >= *percent
        {
            return false;
        }
        self.times = self.times.saturating_sub(1);
        true
    }
}

struct State {
    buckets: BTreeMap<String, Objects>,
    accounts: Vec<Account>,
    is_public: bool,
    clock: Clock,
    faults: Vec<Fault>,
    seen: Vec<Seen>,
    page_size: usize,
    manner: Option<Manner>,
}

/// The running server.
pub struct FakeS3 {
    wire: Wire,
    state: Arc<Mutex<State>>,
}

/// The bucket that every [`FakeS3`] has.
pub const BUCKET: &str = "catchment-test";

impl FakeS3 {
    /// A server with one empty bucket, [`BUCKET`], that takes requests signed by one account.
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            buckets: BTreeMap::from([(BUCKET.to_owned(), Objects::new())]),
            accounts: vec![Account {
                access_key: "AKIDEXAMPLE".to_owned(),
                secret_key: "not-a-secret/+=".to_owned(),
                session_token: None,
            }],
            is_public: false,
            clock: Clock::Checked,
            faults: Vec::new(),
            seen: Vec::new(),
            page_size: 1000,
            manner: None,
        }));
        let shared = Arc::clone(&state);
        let wire = Wire::serve(move |request| shared.lock().unwrap().handle(request));
        Self { wire, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// How to reach it.
    pub fn endpoint(&self) -> Endpoint {
        let state = self.state();
        Endpoint {
            url: self.wire.url(),
            access_key: state.accounts[0].access_key.clone(),
            secret_key: state.accounts[0].secret_key.clone(),
        }
    }

    /// The same server under another host name.
    pub fn url_under_another_name(&self) -> String {
        format!("http://localhost:{}", self.wire.port())
    }

    /// Anybody may read.
    pub fn make_public(&self) {
        self.state().is_public = true;
    }

    /// Takes signatures of any date, for clients whose clock is off.
    pub fn accept_any_time(&self) {
        self.state().clock = Clock::Ignored;
    }

    /// Takes this account's signatures, and no other account's.
    pub fn only_accept(&self, account: Account) {
        self.state().accounts = vec![account];
    }

    /// Pages of at most so many keys, whatever the client asks for, as S3 may do.
    pub fn page_size(&self, keys: usize) {
        self.state().page_size = keys;
    }

    /// Differs from Amazon's in this way from now on.
    pub fn behaves(&self, manner: Manner) {
        self.state().manner = Some(manner);
    }

    /// Writes an object.
    pub fn put(&self, key: impl AsRef<[u8]>, bytes: impl Into<Vec<u8>>) {
        self.put_object(key, Object::new(bytes));
    }

    /// Writes an object with more than bytes.
    pub fn put_object(&self, key: impl AsRef<[u8]>, object: Object) {
        self.change(|objects| {
            objects.insert(key.as_ref().to_vec(), object);
        });
    }

    /// Removes an object.
    pub fn delete(&self, key: &str) {
        self.change(|objects| {
            objects.remove(key.as_bytes()).expect("the object to delete is there");
        });
    }

    /// Changes the objects as `change` does.
    pub fn change(&self, change: impl FnOnce(&mut Objects)) {
        change(self.state().buckets.get_mut(BUCKET).unwrap());
    }

    /// Removes the bucket itself.
    pub fn remove_bucket(&self) {
        self.state().buckets.clear();
    }

    /// Keys and the hashes of their bytes: what a sync should bring.
    pub fn contents(&self) -> BTreeMap<Vec<u8>, String> {
        let state = self.state();
        let objects = state.buckets[BUCKET].iter();
        objects.map(|(key, object)| (key.clone(), super::content::hash(&object.bytes))).collect()
    }

    /// Adds a fault to the script. Where several match, the first that strikes does.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// The requests so far, or since [`FakeS3::forget_requests`].
    pub fn requests(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// How many requests of this kind came.
    pub fn count(&self, kind: Kind) -> usize {
        self.state().seen.iter().filter(|seen| seen.kind == kind).count()
    }

    /// Bytes of objects that went out.
    pub fn object_bytes_sent(&self) -> u64 {
        let state = self.state();
        state.seen.iter().filter(|seen| seen.kind == Kind::Get).map(Seen::bytes_sent).sum()
    }

    /// How many clients wait for the rest of an answer that stands still.
    pub fn stalled(&self) -> usize {
        self.wire.stalled()
    }

    /// Starts counting anew.
    pub fn forget_requests(&self) {
        self.state().seen.clear();
    }

    /// Waits until the requests so far satisfy `condition`; panics after half a minute.
    pub fn wait_until(&self, what: &str, condition: impl Fn(&[Seen]) -> bool) {
        super::catchment::poll_until(what, Duration::from_secs(30), || {
            condition(&self.state().seen).then_some(())
        });
    }
}

/// An error in S3's form: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
fn error(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{}</Message>\
         <RequestId>4442587FB7D0A2F9</RequestId></Error>",
        escape(message)
    );
    Answer::new(status, body).header("Content-Type", "application/xml")
}

impl State {
    fn handle(&mut self, request: &Request) -> Reply {
        let (bucket, key) = place(request);
        let kind = kind(request, &key);
        let struck =
            self.faults.iter_mut().position(|fault| fault.matches(kind, &key) && fault.strikes());
        let reply = self.answer(request, kind, &bucket, &key, struck);
        let sent = match &reply {
            Reply::Answer(answer) => Arc::clone(&answer.sent),
            Reply::Reset | Reply::Silence => Arc::default(),
        };
        let (request, at) = (request.clone(), Instant::now());
        self.seen.push(Seen { kind, key, request, at, sent });
        reply
    }

    fn answer(
        &mut self,
        request: &Request,
        kind: Kind,
        bucket: &str,
        key: &[u8],
        struck: Option<usize>,
    ) -> Reply {
        match struck.map(|index| &self.faults[index].trouble) {
            None => self.serve(request, kind, bucket, key, Lie::None).into(),
            Some(Trouble::Error { status, code, retry_after }) => {
                let answer = error(*status, code, "as the script of the test has it");
                match retry_after {
                    Some(seconds) => answer.header("Retry-After", seconds.to_string()).into(),
                    None => answer.into(),
                }
            }
            Some(Trouble::Body(body)) => Answer::new(200, body.clone()).into(),
            Some(Trouble::HalfBody) => {
                let mut answer = self.serve(request, kind, bucket, key, Lie::None);
                answer.range.end -= answer.range.len() / 2;
                answer.into()
            }
            Some(Trouble::Delivery(delivery)) => {
                let delivery = *delivery;
                let mut answer = self.serve(request, kind, bucket, key, Lie::None);
                answer.delivery = delivery;
                answer.into()
            }
            Some(Trouble::Reset) => Reply::Reset,
            Some(Trouble::Redirect(to)) => error(307, "TemporaryRedirect", "go there")
                .header("Location", format!("{to}{}", request.target))
                .into(),
            Some(Trouble::ListingEnds) => {
                self.serve(request, kind, bucket, key, Lie::ItEndsHere).into()
            }
            Some(Trouble::ListingLosesItsToken) => {
                self.serve(request, kind, bucket, key, Lie::NoToken).into()
            }
            Some(Trouble::ListingLeavesPlus) => {
                self.serve(request, kind, bucket, key, Lie::RawPlus).into()
            }
            Some(Trouble::EmptyPage) => Answer::new(
                200,
                format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult>\
                     <NextContinuationToken>{}</NextContinuationToken><KeyCount>0</KeyCount>\
                     <IsTruncated>true</IsTruncated></ListBucketResult>",
                    self.seen.len()
                ),
            )
            .header("Content-Type", "application/xml")
            .into(),
            Some(Trouble::First(change)) => {
                change(self.buckets.get_mut(BUCKET).unwrap());
                self.serve(request, kind, bucket, key, Lie::None).into()
            }
        }
    }

    fn serve(&self, request: &Request, kind: Kind, bucket: &str, key: &[u8], lie: Lie) -> Answer {
        let is_anonymous = request.header("authorization").is_none();
        if !(is_anonymous && self.is_public)
            && let Err(refusal) = sigv4::verify(request, &self.accounts, self.clock)
        {
            return error(refusal.status, refusal.code, &refusal.detail);
        }
        if !is_anonymous && request.header("x-amz-content-sha256").is_none() {
            return error(400, "MissingSecurityHeader", "x-amz-content-sha256");
        }
        if bucket.is_empty() && request.method == "GET" {
            return list_buckets(self.buckets.keys());
        }
        let Some(objects) = self.buckets.get(bucket) else {
            return error(404, "NoSuchBucket", "The specified bucket does not exist");
        };
        match kind {
            Kind::List => list(objects, bucket, request, self.page_size, lie),
            Kind::Get | Kind::Head => match objects.get(key) {
                Some(object) => read(object, request, self.manner),
                None => error(404, "NoSuchKey", "The specified key does not exist."),
            },
            Kind::Tags => match objects.get(key) {
                Some(object) => tagging(object),
                None => error(404, "NoSuchKey", "The specified key does not exist."),
            },
            Kind::Other if request.method == "HEAD" && key.is_empty() => Answer::new(200, ""),
            Kind::Other => error(501, "NotImplemented", "not by this fake"),
        }
    }
}

/// What a listing says of itself that is not so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lie {
    None,
    ItEndsHere,
    NoToken,
    RawPlus,
}

/// `/bucket/key`, or `/key` at the host `bucket.localhost`; percent-decoded and otherwise
/// untouched.
fn place(request: &Request) -> (String, Vec<u8>) {
    let path = request.raw_path();
    let path = path.strip_prefix('/').unwrap_or(path);
    let host = request.header("host").and_then(|host| host.split(':').next());
    let virtual_host = host.and_then(|host| host.strip_suffix(".localhost"));
    let (bucket, key) = match virtual_host {
        Some(bucket) => (bucket, path),
        None => path.split_once('/').unwrap_or((path, "")),
    };
    (bucket.to_owned(), wire::decode(key))
}

fn kind(request: &Request, key: &[u8]) -> Kind {
    let is_plain = ["tagging", "acl", "attributes", "uploads", "uploadId", "location"]
        .iter()
        .all(|name| request.query(name).is_none());
    match request.method.as_str() {
        "GET" if request.query_text("list-type").as_deref() == Some("2") && key.is_empty() => {
            Kind::List
        }
        "GET" if request.query("tagging").is_some() && !key.is_empty() => Kind::Tags,
        "GET" if is_plain && !key.is_empty() => Kind::Get,
        "HEAD" if is_plain && !key.is_empty() => Kind::Head,
        _ => Kind::Other,
    }
}

fn list(objects: &Objects, bucket: &str, request: &Request, page_size: usize, lie: Lie) -> Answer {
    let max_keys = request.query_text("max-keys").map_or(1000, |text| text.parse().unwrap());
    let url_encoded = request.query_text("encoding-type").as_deref() == Some("url");
    let encode = |key: &[u8]| match (url_encoded, lie) {
        (true, Lie::RawPlus) => url_encode(key).replace("%2B", "+"),
        (true, _) => url_encode(key),
        (false, _) => xml_text(key),
    };
    let prefix = request.query("prefix").unwrap_or_default();
    let start = match request.query_text("continuation-token") {
        Some(token) => token_key(&token),
        None => Ok(request.query("start-after")),
    };
    let Ok(start) = start else {
        return error(400, "InvalidArgument", "The continuation token provided is incorrect");
    };
    let mut rest = objects
        .iter()
        .filter(|(key, _)| key.starts_with(&prefix))
        .filter(|(key, _)| start.as_ref().is_none_or(|start| *key > start))
        .peekable();
    let most = page_size.min(max_keys).min(1000);
    let (mut page, mut folders, mut last) = (Vec::new(), BTreeSet::new(), None);
    while let Some((key, object)) = rest.peek() {
        let folder =
            request.query("delimiter").and_then(|delimiter| folder(key, &prefix, &delimiter));
        let is_new = folder.as_ref().is_none_or(|folder| !folders.contains(folder));
        if is_new && page.len() + folders.len() == most {
            break;
        }
        match folder {
            Some(folder) => drop(folders.insert(folder)),
            None => page.push((*key, *object)),
        }
        last = rest.next().map(|(key, _)| key);
    }
    let goes_on = rest.peek().is_some() && lie != Lie::ItEndsHere;

    let with_restore_status = request
        .header("x-amz-optional-object-attributes")
        .is_some_and(|asked| asked.contains("RestoreStatus"));
    let contents: String =
        page.iter().map(|(key, object)| entry(&encode(key), object, with_restore_status)).collect();
    let folders_found = folders.len();
    let folders: String = folders
        .iter()
        .map(|folder| {
            format!("<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", encode(folder))
        })
        .collect();
    let token = match last {
        Some(key) if goes_on && lie != Lie::NoToken => {
            format!("<NextContinuationToken>{}</NextContinuationToken>", token(key))
        }
        _ => String::new(),
    };
    let encoding = if url_encoded { "<EncodingType>url</EncodingType>" } else { "" };
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>{bucket}</Name>\
         <Prefix>{}</Prefix>{token}<KeyCount>{}</KeyCount><MaxKeys>{max_keys}</MaxKeys>{encoding}\
         <IsTruncated>{goes_on}</IsTruncated>{contents}{folders}</ListBucketResult>",
        encode(&prefix),
        page.len() + folders_found,
    );
    Answer::new(200, body).header("Content-Type", "application/xml")
}

/// The common prefix that stands for a key behind a delimiter.
fn folder(key: &[u8], prefix: &[u8], delimiter: &[u8]) -> Option<Vec<u8>> {
    let rest = &key[prefix.len()..];
    let at = rest.windows(delimiter.len()).position(|window| window == delimiter)?;
    Some(key[..prefix.len() + at + delimiter.len()].to_vec())
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html>
fn list_buckets<'a>(names: impl Iterator<Item = &'a String>) -> Answer {
    let buckets: String = names
        .map(|name| {
            format!(
                "<Bucket><Name>{name}</Name><CreationDate>2026-01-01T00:00:00.000Z</CreationDate>\
                 </Bucket>"
            )
        })
        .collect();
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <ListAllMyBucketsResult><Buckets>{buckets}</Buckets></ListAllMyBucketsResult>"
    );
    Answer::new(200, body).header("Content-Type", "application/xml")
}

fn entry(key: &str, object: &Object, with_restore_status: bool) -> String {
    let restore = if with_restore_status && object.restored {
        "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>\
         <RestoreExpiryDate>2099-01-01T00:00:00.000Z</RestoreExpiryDate></RestoreStatus>"
    } else {
        ""
    };
    format!(
        "<Contents><Key>{key}</Key><LastModified>{}</LastModified><ETag>{}</ETag>\
         <Size>{}</Size><StorageClass>{}</StorageClass>{restore}</Contents>",
        object.modified.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        escape(&object.etag),
        object.bytes.len(),
        object.storage_class,
    )
}

/// The token of S3 is opaque; this one has the characters that a careless client forgets to encode.
fn token(key: &[u8]) -> String {
    format!("1+/={}", sigv4::hex(key))
}

fn token_key(token: &str) -> Result<Option<Vec<u8>>, ()> {
    let hex = token.strip_prefix("1+/=").ok_or(())?;
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(hex.get(at..at + 2).ok_or(())?, 16).map_err(|_| ()))
        .collect::<Result<Vec<u8>, ()>>()
        .map(Some)
}

fn read(object: &Object, request: &Request, manner: Option<Manner>) -> Answer {
    let etag = match manner {
        Some(Manner::WeakTags) => format!("W/{}", object.etag),
        Some(Manner::OtherTags) => {
            format!("\"{}-{}\"", request.method.to_lowercase(), object.etag.trim_matches('"'))
        }
        _ => object.etag.clone(),
    };
    if object.is_archived() {
        return error(
            403,
            "InvalidObjectState",
            "The operation is not valid for the object's storage class",
        );
    }
    if let Some(wanted) = request.header("if-match")
        && wanted.trim_matches('"') != etag.trim_matches('"')
    {
        return error(412, "PreconditionFailed", "At least one of the pre-conditions did not hold");
    }
    let takes_gzip =
        request.header("accept-encoding").is_some_and(|accepted| accepted.contains("gzip"));
    let unpacks = [Some(Manner::Unpacks), Some(Manner::UnpacksAndTellsTheLength)].contains(&manner);
    let unpacked = object.unpacked.as_ref().filter(|_| unpacks && !takes_gzip);
    let bytes = unpacked.unwrap_or(&object.bytes);
    let size = bytes.len();
    let asked = match manner {
        Some(Manner::IgnoresRanges) => None,
        Some(Manner::RefusesRanges) if request.header("range").is_some() => {
            return error(416, "InvalidRange", "not by this server");
        }
        // What is unpacked on the way has no ranges.
        _ if unpacked.is_some() => None,
        _ => request.header("range"),
    };
    let (status, range) = match asked.map(|text| byte_range(text, size)) {
        None => (200, 0..size),
        Some(Some(range)) => (206, range),
        Some(None) => return error(416, "InvalidRange", "The requested range is not satisfiable"),
    };
    let mut answer = Answer::new(status, "")
        .header("ETag", etag)
        .header("Last-Modified", object.modified.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
        .header("Accept-Ranges", "bytes")
        .header("Content-Type", &*object.content_type);
    if status == 206 {
        let last = range.end - 1;
        answer = answer.header("Content-Range", format!("bytes {}-{last}/{size}", range.start));
    }
    if object.storage_class != "STANDARD" {
        answer = answer.header("x-amz-storage-class", &*object.storage_class);
    }
    if let Some((name, value)) = &object.checksum
        && status == 200
        && request.header("x-amz-checksum-mode").is_some_and(|mode| mode == "ENABLED")
    {
        answer = answer.header(name, &**value).header("x-amz-checksum-type", "FULL_OBJECT");
    }
    for (name, value) in &object.metadata {
        answer = answer.header(&format!("x-amz-meta-{name}"), &**value);
    }
    if object.unpacked.is_some() && unpacked.is_none() {
        answer = answer.header("Content-Encoding", "gzip");
    }
    let hides_length = manner == Some(Manner::TellsNoLength)
        || (unpacked.is_some() && manner == Some(Manner::Unpacks));
    if hides_length {
        answer.delivery = Delivery::WithoutLength;
    }
    Answer { body: Arc::clone(bytes), range, ..answer }
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectTagging.html>
fn tagging(object: &Object) -> Answer {
    let tags: String = object
        .tags
        .iter()
        .map(|(name, value)| {
            format!("<Tag><Key>{}</Key><Value>{}</Value></Tag>", escape(name), escape(value))
        })
        .collect();
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Tagging xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><TagSet>{tags}</TagSet></Tagging>"
    );
    Answer::new(200, body).header("Content-Type", "application/xml")
}

/// `bytes=a-b`, `bytes=a-` or `bytes=-n` of `size`; none if it cannot be satisfied.
fn byte_range(text: &str, size: usize) -> Option<std::ops::Range<usize>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first, last) {
        ("", count) => size.saturating_sub(count.parse().ok()?)..size,
        (first, "") => first.parse().ok()?..size,
        (first, last) => first.parse().ok()?..size.min(last.parse::<usize>().ok()? + 1),
    };
    (range.start < range.end).then_some(range)
}

/// As S3 does it under `encoding-type=url`: a space is `+`, and `/` and `*` stay.
fn url_encode(key: &[u8]) -> String {
    key.iter()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' | b'/' => {
                char::from(*byte).to_string()
            }
            b' ' => "+".to_owned(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// As S3 does it without `encoding-type`: control characters become references that XML 1.0 does
/// not allow.
fn xml_text(key: &[u8]) -> String {
    let text = escape(&String::from_utf8_lossy(key));
    text.chars()
        .map(|c| if c.is_control() { format!("&#x{:x};", u32::from(c)) } else { c.to_string() })
        .collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
