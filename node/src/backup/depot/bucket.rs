//! A bucket that speaks S3. A few objects are on their way at a time; a failure of one comes back with the next call.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use url::Url;

use super::{DepotError, Objects};

/// Objects on their way at a time: enough to fill a line with a long way, few enough to be held in memory.
const UNDER_WAY: usize = 8;

/// How long one object may take, and how long it is tried again.
const OBJECT_LIMIT: Duration = Duration::from_secs(120);
const RETRY_LIMIT: Duration = Duration::from_secs(60);
const RETRIES: usize = 5;

/// How a bucket is reached. Who may is said by the environment: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
#[derive(Clone, Debug, Default)]
pub(crate) struct BucketAccess {
    /// Where, for others than Amazon.
    pub(crate) endpoint: Option<Url>,
    /// The region.
    pub(crate) region: Option<String>,
}

pub(super) struct Bucket {
    store: Arc<AmazonS3>,
    prefix: String,
    runtime: Handle,
    under_way: JoinSet<Result<(), DepotError>>,
}

fn refused(what: &'static str, name: &str) -> impl FnOnce(object_store::Error) -> DepotError {
    let name = name.to_owned();
    move |error| DepotError::Bucket { what, name, why: crate::tasks::chain(&error) }
}

impl Bucket {
    /// Needs a runtime around it: the work waits for the network on it.
    pub(super) fn open(bucket: &str, prefix: &str, access: &BucketAccess) -> Result<Self, DepotError> {
        let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_LIMIT, backoff: BackoffConfig::default() };
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry);
        let mut options = ClientOptions::new().with_timeout(OBJECT_LIMIT);
        if let Some(endpoint) = &access.endpoint {
            builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/'));
            // Chosen by the operator, as the scheme says.
            options = options.with_allow_http(endpoint.scheme() == "http");
        }
        if let Some(region) = &access.region {
            builder = builder.with_region(region);
        }
        let store = builder.with_client_options(options).build().map_err(refused("open", bucket))?;
        Ok(Self {
            store: Arc::new(store),
            prefix: prefix.to_owned(),
            runtime: Handle::current(),
            under_way: JoinSet::new(),
        })
    }

    fn path(&self, name: &str) -> Path {
        if self.prefix.is_empty() { Path::from(name) } else { Path::from(format!("{}/{name}", self.prefix)) }
    }

    /// Waits until at most `left` objects are on their way.
    fn wait(&mut self, left: usize) -> Result<(), DepotError> {
        while self.under_way.len() > left {
            if let Some(put) = self.runtime.block_on(self.under_way.join_next()) {
                put.map_err(|error| DepotError::Bucket { what: "put", name: String::new(), why: error.to_string() })??;
            }
        }
        Ok(())
    }
}

impl Objects for Bucket {
    fn put(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), DepotError> {
        self.wait(UNDER_WAY - 1)?;
        let (store, path, name) = (Arc::clone(&self.store), self.path(name), name.to_owned());
        let put = async move {
            let put = store.put(&path, PutPayload::from(bytes)).await;
            put.map(drop).map_err(refused("put", &name))
        };
        self.under_way.spawn_on(put, &self.runtime);
        Ok(())
    }

    fn get(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, DepotError> {
        let get = async {
            let found = match self.store.get(&self.path(name)).await {
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                found => found.map_err(refused("get", name))?,
            };
            let bytes = found.meta.size;
            if bytes > bytes_max as u64 {
                return Err(DepotError::TooLarge { name: name.to_owned(), bytes });
            }
            let bytes = found.bytes().await.map_err(refused("get", name))?;
            Ok(Some(bytes.into()))
        };
        self.runtime.block_on(get)
    }

    fn names(&self, folder: &str) -> Result<Vec<String>, DepotError> {
        let under = self.path(folder);
        let listed = self.store.list(Some(&under)).map_ok(|meta| meta.location.to_string()).try_collect::<Vec<_>>();
        self.runtime.block_on(listed).map_err(refused("list", folder))
    }

    fn remove(&mut self, name: &str) -> Result<(), DepotError> {
        match self.runtime.block_on(self.store.delete(&self.path(name))) {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            removed => removed.map_err(refused("remove", name)),
        }
    }

    fn sync(&mut self) -> Result<(), DepotError> {
        self.wait(0)
    }
}
