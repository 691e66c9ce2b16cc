//! Lists: a slice over a snapshot, in pages that all show one version.

use std::borrow::Cow;
use std::time::Instant;

use pal_resources::status::StatusDetails;
use pal_resources::{FieldError, FieldPath, Resource, ResourceVersion, Status};
use pal_store::{Key, Revision, Snapshot, WatchError};

use crate::form::Served;
use crate::object::Object;
use crate::options::{List, ListOptions, Read, VersionMatch};
use crate::pages::Position;
use crate::read::Selection;
use crate::registry::Registry;
use crate::{custom, key};

/// What a list shows a part of.
struct Slice {
    snapshot: Snapshot,
    /// The snapshot is right for lists of the same prefix alone.
    only: bool,
    /// Behind which key it begins.
    start: Option<String>,
}

impl Slice {
    fn of(snapshot: Snapshot) -> Self {
        Self { snapshot, only: false, start: None }
    }
}

impl Registry {
    /// The objects of a resource, in one namespace or in all.
    pub async fn list(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        options: ListOptions,
    ) -> Result<List, Status> {
        if let Some(form) = Served::of(resource) {
            let field = form.selector(options.field)?;
            let list = Box::pin(self.list(&form.stored, namespace, ListOptions { field, ..options }));
            return form.list(list.await?);
        }
        check_options(&options)?;
        let bucket = key::prefix(resource, namespace);
        let Slice { snapshot, only, start } = self.list_snapshot(&options, &bucket).await?;
        let limit = options.limit.filter(|&limit| limit > 0 && !whole(&options));
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        let selection = Selection::new(resource, options.label, options.field)?;
        let after = start.map(|start| Key::from(format!("{bucket}{start}")));
        let prefix = selection.prefix(resource, namespace);

        let mut list = List {
            version: ResourceVersion(snapshot.revision().0),
            items: Vec::with_capacity(limit.unwrap_or(0).min(10_000)),
            continue_token: None,
            remaining: None,
        };
        let mut last: Option<&Key> = None;
        let mut entries = snapshot.range(&prefix, after.as_ref());
        let mut seen = 0;
        while let Some(entry) = entries.next() {
            selection.breathe(seen).await;
            seen += 1;
            if !selection.is_all() && !selection.matches(entry) {
                continue;
            }
            if let (Some(limit), Some(last)) = (limit, last)
                && list.items.len() >= limit
            {
                let start = last.as_str().get(bucket.len()..).unwrap_or_default();
                list.continue_token = Some(Position::after(snapshot.revision(), start).to_token());
                list.remaining = selection.is_all().then(|| 1 + entries.count() as u64);
                self.shared.pages.keep(&snapshot, only.then_some(&*bucket), Instant::now());
                break;
            }
            last = Some(entry.key());
            list.items.push(custom::shown(resource, Object::stored(entry.clone())));
        }
        Ok(list)
    }

    async fn list_snapshot(&self, options: &ListOptions, bucket: &str) -> Result<Slice, Status> {
        if let Some(token) = &options.continue_token {
            let position = Position::from_token(token)?;
            let Ok(revision) = u64::try_from(position.rv) else {
                let snapshot = self.snapshot(Read::Consistent).await?;
                return Ok(Slice { start: Some(position.start), ..Slice::of(snapshot) });
            };
            let kept = self.shared.pages.at(revision, bucket, Instant::now());
            return match kept {
                Some((snapshot, only)) => Ok(Slice { snapshot, only, start: Some(position.start) }),
                None => Err(page_expired(position)),
            };
        }
        let paged = options.limit.is_some_and(|limit| limit > 0);
        match (options.resource_version, options.version_match) {
            (None, _) => self.snapshot(Read::Consistent).await.map(Slice::of),
            (Some(ResourceVersion(0)), _) => self.snapshot(Read::Any).await.map(Slice::of),
            (Some(version), Some(VersionMatch::Exact)) => self.exactly(version, bucket).await,
            // A page of a version that nobody named a match for is a page of exactly that version.
            (Some(version), None) if paged => self.exactly(version, bucket).await,
            (Some(version), _) => self.snapshot(Read::AtLeast(version)).await.map(Slice::of),
        }
    }

    async fn exactly(&self, version: ResourceVersion, bucket: &str) -> Result<Slice, Status> {
        let snapshot = self.snapshot(Read::AtLeast(version)).await?;
        if snapshot.revision().0 == version.0 {
            return Ok(Slice::of(snapshot));
        }
        if let Some((snapshot, only)) = self.shared.pages.at(version.0, bucket, Instant::now()) {
            return Ok(Slice { only, ..Slice::of(snapshot) });
        }
        match self.shared.store.rewound(&snapshot, bucket, Revision(version.0)).await {
            Ok(snapshot) => Ok(Slice { only: true, ..Slice::of(snapshot) }),
            Err(WatchError::Closed) => Err(Status::unavailable("the server is shutting down")),
            Err(WatchError::Compacted { .. } | WatchError::Lagged) => {
                Err(Status::expired("The resourceVersion for the provided list is too old."))
            }
        }
    }

    /// Lets go of the snapshots whose pages nobody has asked for in time. Lists do that too; this is for a server that
    /// is no longer asked for any.
    pub fn expire_pages(&self) {
        self.shared.pages.expire(Instant::now());
    }
}

/// Whether the list is told as a whole whatever its limit is: clients that take any version get what is in memory, as
/// kube-apiserver's watch cache tells it, and count on no second request.
fn whole(options: &ListOptions) -> bool {
    options.continue_token.is_none() && options.resource_version == Some(ResourceVersion(0))
}

/// The version of the list is gone. The client may go on in what is there now, and is told how.
fn page_expired(position: Position) -> Status {
    let mut status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list \
         without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
         results. Continuing with the provided token results in an inconsistent list - objects that were created, \
         modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    let continue_token = Some(position.of_any_version().to_token());
    status.details = Some(StatusDetails { continue_token, ..StatusDetails::default() });
    status
}

fn check_options(options: &ListOptions) -> Result<(), Status> {
    let refused = |detail: &str| {
        let error = FieldError::forbidden(&FieldPath::new("resourceVersionMatch"), detail);
        Err(Status::invalid(&list_options_kind(), "", &[error]))
    };
    if let Some(version_match) = options.version_match {
        if options.continue_token.is_some() {
            return refused("resourceVersionMatch is forbidden when continue is provided");
        }
        match options.resource_version {
            None => return refused("resourceVersionMatch is forbidden unless resourceVersion is provided"),
            Some(ResourceVersion(0)) if version_match == VersionMatch::Exact => {
                return refused("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
            }
            Some(_) => {}
        }
    }
    if let Some(token) = &options.continue_token
        && options.resource_version.is_some_and(|version| version.0 != 0)
    {
        // A token that is none is told of first.
        Position::from_token(token)?;
        return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
    }
    Ok(())
}

/// How messages name the options of a list.
fn list_options_kind() -> Resource {
    Resource {
        group: Cow::Borrowed("meta.k8s.io"),
        version: Cow::Borrowed("v1"),
        plural: Cow::Borrowed("listoptions"),
        singular: Cow::Borrowed("listoptions"),
        kind: Cow::Borrowed("ListOptions"),
        namespaced: false,
        short_names: Cow::Borrowed(&[]),
        categories: Cow::Borrowed(&[]),
        verbs: Cow::Borrowed(&[]),
        subresources: Cow::Borrowed(&[]),
        custom: None,
    }
}
