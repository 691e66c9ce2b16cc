//! What stands in for the image `nginx`: its welcome page, and the files that a volume puts in its place.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;

use wasip2::http::types::{Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam};

/// What it stands in for: its name, where its files are, and the page that is there where nobody has put another.
struct Likeness {
    server: &'static str,
    root: &'static str,
    welcome: &'static str,
}

const NGINX: Likeness = Likeness { server: "nginx/1.29.3", root: "/usr/share/nginx/html", welcome: WELCOME };
const HTTPD: Likeness = Likeness {
    server: "Apache/2.4.66 (Unix)",
    root: "/usr/local/apache2/htdocs",
    welcome: include_str!("../httpd.html"),
};

fn likeness() -> &'static Likeness {
    let name = std::env::args().next().unwrap_or_default();
    if name.contains("httpd") { &HTTPD } else { &NGINX }
}

const WELCOME: &str = include_str!("../nginx.html");

struct Nginx;

wasip2::http::proxy::export!(Nginx);

struct Page {
    status: u16,
    kind: &'static str,
    bytes: Vec<u8>,
    /// Seconds since 1970, for files.
    changed: Option<u64>,
    location: Option<String>,
}

impl wasip2::exports::http::incoming_handler::Guest for Nginx {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_else(|| "/".into());
        let method = request.method();
        let page = match method {
            Method::Get | Method::Head => page(path.split(['?', '#']).next().unwrap_or_default()),
            _ => error(405, "Not Allowed"),
        };
        let agent = request.headers().get("user-agent").into_iter().next().unwrap_or_default();
        let name = match &method {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            _ => "OTHER",
        };
        let now = wasip2::clocks::wall_clock::now().seconds;
        println!(
            "- - - [{}] \"{name} {path} HTTP/1.1\" {} {} \"-\" \"{}\" \"-\"",
            date(now, true),
            page.status,
            page.bytes.len(),
            String::from_utf8_lossy(&agent),
        );
        answer(out, &page, matches!(method, Method::Head), now);
    }
}

fn answer(out: ResponseOutparam, page: &Page, head: bool, now: u64) {
    let headers = Fields::new();
    let add = |name: &str, value: &str| {
        // These names and values are valid, but for a location with odd signs in it, which is then left out.
        let _ = headers.append(name, value.as_bytes());
    };
    add("server", likeness().server);
    add("date", &date(now, false));
    add("content-type", page.kind);
    add("content-length", &page.bytes.len().to_string());
    if let Some(location) = &page.location {
        add("location", location);
    }
    if let Some(changed) = page.changed {
        add("last-modified", &date(changed, false));
        add("etag", &format!("\"{changed:x}-{:x}\"", page.bytes.len()));
        add("accept-ranges", "bytes");
    }
    let response = OutgoingResponse::new(headers);
    let _ = response.set_status_code(page.status);
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(out, Ok(response));
    if !head {
        // A client that has gone is no error of ours.
        let Ok(stream) = body.write() else { return };
        for piece in page.bytes.chunks(4096) {
            if stream.blocking_write_and_flush(piece).is_err() {
                return;
            }
        }
    }
    let _ = OutgoingBody::finish(body, None);
}

fn page(path: &str) -> Page {
    let decoded = decode(path);
    let relative = Path::new(decoded.trim_start_matches('/'));
    if relative.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        return error(400, "Bad Request");
    }
    let Likeness { root, welcome, .. } = likeness();
    // The page is a file, which may be moved away; only where the files may not be written it is not.
    if fs::metadata(root).is_err() && fs::create_dir_all(root).is_ok() {
        let _ = fs::write(Path::new(root).join("index.html"), welcome);
    }
    let mut file = PathBuf::from(root).join(relative);
    if fs::metadata(&file).is_ok_and(|found| found.is_dir()) {
        if !decoded.ends_with('/') {
            return Page { location: Some(format!("{decoded}/")), ..error(301, "Moved Permanently") };
        }
        file.push("index.html");
        if decoded == "/" && fs::metadata(&file).is_err() && fs::metadata(root).is_ok() {
            return error(403, "Forbidden");
        }
    }
    match fs::read(&file) {
        Ok(bytes) => {
            let changed = fs::metadata(&file).and_then(|found| found.modified()).ok();
            let changed = changed.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs());
            Page { status: 200, kind: kind(&file), bytes, changed: Some(changed), location: None }
        }
        Err(_) if fs::metadata(root).is_err() && (decoded == "/" || decoded == "/index.html") => {
            let bytes = welcome.as_bytes().into();
            Page { status: 200, kind: "text/html", bytes, changed: Some(1_761_609_600), location: None }
        }
        Err(_) => error(404, "Not Found"),
    }
}

fn error(status: u16, words: &str) -> Page {
    let text = format!(
        "<html>\r\n<head><title>{status} {words}</title></head>\r\n<body>\r\n<center><h1>{status} {words}</h1></center>\r\n\
         <hr><center>{}</center>\r\n</body>\r\n</html>\r\n",
        likeness().server
    );
    Page { status, kind: "text/html", bytes: text.into(), changed: None, location: None }
}

fn decode(path: &str) -> String {
    let (bytes, mut out, mut i) = (path.as_bytes(), Vec::new(), 0);
    while i < bytes.len() {
        let hex = path.get(i + 1..i + 3).filter(|_| bytes[i] == b'%');
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                i += 3;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn kind(file: &Path) -> &'static str {
    match file.extension().and_then(|e| e.to_str()) {
        Some("html" | "htm") => "text/html",
        Some("css") => "text/css",
        Some("js") => "application/javascript",
        Some("json") => "application/json",
        Some("txt") => "text/plain",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("xml") => "text/xml",
        Some("wasm") => "application/wasm",
        _ => "application/octet-stream",
    }
}

/// A date as HTTP writes it, or as the log does.
fn date(seconds: u64, log: bool) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // From days to a date of the Gregorian calendar, in eras of 400 years that begin in March.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let part = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * part + 2) / 5 + 1, if part < 10 { part + 3 } else { part - 9 });
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let month = MONTHS[(month as usize).clamp(1, 12) - 1];
    let time = format!("{:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60);
    match log {
        true => format!("{day:02}/{month}/{year}:{time} +0000"),
        false => format!("{}, {day:02} {month} {year} {time} GMT", DAYS[(days % 7) as usize]),
    }
}
