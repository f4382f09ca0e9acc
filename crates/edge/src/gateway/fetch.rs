//! A request that memory could not answer: loaded for all who wait, or handed through.

use std::sync::Arc;

use cache::{Answer, Content, OriginErrorKind, ReadError, Tier};
use coherence::After;
use http::header::CACHE_CONTROL;
use http::uri::PathAndQuery;
use http::{HeaderValue, Response, request};
use http_body::Body as _;

use super::plan::{Page, Plan};
use super::{Caller, Shared, Waiting, log};
use crate::answer::{self, Unfit};
use crate::asked::{Asked, Name};
use crate::body::Body;
use crate::error::EdgeError;
use crate::forward;
use crate::load::{PageLoad, Private};
use crate::metrics::Outcome;
use crate::proof::{self, CACHE_STATUS};
use crate::request_id::X_REQUEST_ID;
use crate::serve::InFlight;
use crate::token;
use crate::upstream::RequestBody;

impl Shared {
    /// What is left after [`begin`](Self::begin).
    pub(crate) async fn go_on(
        self: Arc<Self>,
        waiting: Box<Waiting>,
        in_flight: InFlight,
    ) -> Response<Body> {
        let Waiting { caller, plan, head, body } = *waiting;
        let Caller { address, scheme, host, request_id, began, after } = caller;
        let mut asked = Asked {
            target: head
                .uri
                .path_and_query()
                .cloned()
                .unwrap_or_else(|| PathAndQuery::from_static("/")),
            method: head.method,
            version: head.version,
            headers: head.headers,
            client: address,
            scheme,
            host,
            request_id,
        };
        let answered = match plan {
            Plan::Page(page) => {
                if let Some(target) = &page.target {
                    asked.target = target.clone();
                }
                let asked = Arc::new(asked);
                let answered = self.page(page, after, Arc::clone(&asked)).await;
                (answered, asked)
            }
            Plan::Pass(why) => {
                let body = RequestBody::of(body, self.options.body_pause);
                let answered = self.pass(&asked, body, why).await;
                (answered, Arc::new(asked))
            }
        };
        let (answered, asked) = answered;
        let (outcome, mut response) = match answered {
            Ok(answered) => answered,
            Err(err) => {
                tracing::debug!(request_id = ?asked.request_id, error = %err, "request failed");
                (Outcome::Error, err.response(&asked.request_id))
            }
        };
        if let Body::Stream(stream) = response.body_mut() {
            stream.answering(self.metrics.sent.clone(), Some(in_flight));
        } else {
            self.metrics.sent.inc_by(response.body().size_hint().lower());
        }
        let took = self.clock.mono().since(began);
        self.metrics.answered(outcome, response.status(), took);
        log(&asked.method, asked.target.path(), took, outcome, &response);
        response
    }

    /// A page that this process can't answer from memory at once.
    async fn page(
        self: &Arc<Self>,
        page: Page,
        after: Option<After>,
        asked: Arc<Asked>,
    ) -> Result<(Outcome, Response<Body>), EdgeError> {
        let route = self.options.routes.of(asked.target.path()).clone();
        let cookies = forward::has_cookies(&asked.headers);
        if forward::names(&asked.headers, &CACHE_CONTROL)
            .any(|directive| directive.eq_ignore_ascii_case("only-if-cached"))
        {
            return Err(EdgeError::OnlyIfCached);
        }
        let own = |why| self.pass(&asked, RequestBody::none(), why);
        if !page.load {
            return own("request").await;
        }
        if cookies && self.cookie_pages.contains(&page.key, self.clock.mono()) {
            return own("bypass; detail=cookie").await;
        }
        let load = Arc::new(PageLoad::new(
            Arc::clone(self),
            Arc::clone(&asked),
            page.encodings,
            route.clone(),
        ));
        let origin: Arc<dyn cache::Origin> = Arc::clone(&load) as _;
        let path = asked.target.path();
        let read = self.engine.get_after(&page.key, path, &route.policy, &origin, after).await;
        match read {
            Ok(answer) if matches!(answer.entry.content, Content::Present(_)) => {
                let fit = answer::page(
                    &answer,
                    &route.policy.name,
                    &asked.method,
                    &asked.headers,
                    true,
                    || asked.request_id.clone(),
                );
                match fit {
                    Ok(response) => Ok((outcome(&answer), response)),
                    Err(Unfit::Cookies) => own("bypass; detail=cookie").await,
                    Err(Unfit::Expired) => own("stale").await,
                    Err(Unfit::Malformed) => {
                        tracing::warn!(key = %page.key, "the store holds a page that is not ours");
                        own("miss; detail=malformed").await
                    }
                }
            }
            Ok(_) => match load.take() {
                Some(private) => Ok(self.private(&asked, private?)),
                None => own("bypass").await,
            },
            Err(err) => match load.take() {
                Some(private) => Ok(self.private(&asked, private?)),
                // Another client's load said that it can't load for us.
                None if is_not_for_all(&err) => own("miss").await,
                None => Err(err.into()),
            },
        }
    }

    /// What this client's own load got, which is for it alone.
    fn private(&self, asked: &Asked, private: Private) -> (Outcome, Response<Body>) {
        let Private { head, body, reason } = private;
        let status = match reason {
            Some(reason) => format!("tidegate; fwd=miss; detail={}", reason.as_str()),
            None => "tidegate; fwd=miss".to_owned(),
        };
        let mut response = Response::from_parts(head, Body::Stream(Box::new(body)));
        let version = response.version();
        forward::to_client(response.headers_mut(), version);
        dress(&mut response, asked, &status);
        (Outcome::Pass, response)
    }

    /// Hands a request through; its answer is for nobody else.
    async fn pass(
        &self,
        asked: &Asked,
        body: RequestBody,
        why: &str,
    ) -> Result<(Outcome, Response<Body>), EdgeError> {
        let request = self.for_upstream(asked, Name::Own);
        let (mut head, body) = self.upstream.send(request, body).await?;
        let token = token::written(&mut head.headers).unwrap_or_else(|err| self.no_token(&err));
        let mut response = Response::from_parts(head, Body::Stream(Box::new(body)));
        let version = response.version();
        forward::to_client(response.headers_mut(), version);
        dress(&mut response, asked, &format!("tidegate; fwd={why}"));
        if !asked.method.is_safe() {
            self.written(asked, token, &mut response).await;
        }
        Ok((Outcome::Pass, response))
    }

    pub(crate) fn for_upstream(&self, asked: &Asked, name: Name) -> request::Parts {
        let trusted = self.options.trust_forwarded;
        asked.for_upstream(name, &self.upstream, self.options.host, trusted)
    }
}

/// What every answer that came from the upstream says of its way.
fn dress(response: &mut Response<Body>, asked: &Asked, cache_status: &str) {
    let status = HeaderValue::from_str(cache_status).expect("fixed words and names of reasons");
    let headers = response.headers_mut();
    headers.append(CACHE_STATUS, status);
    headers.insert(X_REQUEST_ID, asked.request_id.clone());
    headers.remove(proof::TIDEGATE_FRESHNESS);
}

fn outcome(answer: &Answer) -> Outcome {
    match (answer.proof().stale, answer.proof().tier) {
        (Some(_), _) => Outcome::Stale,
        (None, Tier::Origin) => Outcome::Miss,
        (None, Tier::Local | Tier::Shared) => Outcome::Hit,
    }
}

fn is_not_for_all(err: &ReadError) -> bool {
    matches!(err, ReadError::Origin(err) if err.kind == OriginErrorKind::BadRequest)
}
