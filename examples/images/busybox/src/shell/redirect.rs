//! Descriptors that are changed for a command.

use std::rc::Rc;

use super::syntax::{Redirect, RedirectKind};
use super::{Flow, Shell, absolute};
use crate::files;
use crate::stream::Fd;

type Result<T> = std::result::Result<T, Flow>;

impl Shell {
    /// Runs something with descriptors changed meanwhile.
    pub(super) async fn with(
        &mut self,
        redirects: &[Redirect],
        work: impl AsyncFnOnce(&mut Self) -> Result<i32>,
    ) -> Result<i32> {
        if redirects.is_empty() {
            return work(self).await;
        }
        let before = self.fds.clone();
        let outcome = match self.redirect(redirects).await? {
            true => work(self).await,
            false => Ok(1),
        };
        self.fds = before;
        outcome
    }

    /// Changes descriptors; false if one cannot be, which is said.
    pub(super) async fn redirect(&mut self, redirects: &[Redirect]) -> Result<bool> {
        for redirect in redirects {
            let target = self.text(&redirect.target).await?;
            let both = redirect.kind == RedirectKind::Both
                || redirect.kind == RedirectKind::Like && target != "-" && target.parse::<u32>().is_err();
            let opened = match redirect.kind {
                RedirectKind::Here => Ok(Fd::Text(Rc::new(std::cell::RefCell::new(target.into_bytes().into())))),
                RedirectKind::Like if target == "-" => {
                    self.fds.remove(&redirect.fd);
                    continue;
                }
                RedirectKind::Like => match target.parse::<u32>() {
                    Ok(number) => {
                        self.fds.get(&number).cloned().ok_or_else(|| format!("{number}: Bad file descriptor"))
                    }
                    // `>& file`, as bash has it.
                    Err(_) => self.open(&target, RedirectKind::Write),
                },
                kind => self.open(&target, kind),
            };
            match opened {
                Ok(fd) => {
                    if both {
                        self.fds.insert(2, fd.clone());
                    }
                    self.fds.insert(redirect.fd, fd);
                }
                Err(why) => {
                    self.complain(&why).await;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn open(&self, target: &str, kind: RedirectKind) -> std::result::Result<Fd, String> {
        let path = absolute(&self.cwd, target);
        let how = match kind {
            RedirectKind::Read => files::How::Read,
            RedirectKind::Append => files::How::Append,
            RedirectKind::ReadWrite => files::How::ReadWrite,
            _ => files::How::Write,
        };
        let what = if how == files::How::Read { "open" } else { "create" };
        files::open(&path, how, &self.fds).map_err(|e| format!("can't {what} {target}: {}", files::why(&e)))
    }
}
