//! Reading and writing several buffers in one call.

use std::io;
use std::rc::Rc;

use crate::buffer::{BufResult, IoBuf, IoBufMut};
use crate::file::File;
use crate::kernel::Way;
use crate::loan::{Loan, settle_all};
use crate::request::Request;
use crate::write::fits;

impl File {
    /// Reads from `offset` into `buffers`, one after the other. Returns how many bytes were read,
    /// and the buffers: each has the length that was read into it, the last ones perhaps 0.
    ///
    /// Fewer bytes than asked is normal, as in [`File::read_at`]; 0 is the end. Only the first 1,024
    /// buffers are used.
    ///
    /// # Errors
    /// Those of preadv2(2), as [`File::read_at`]. The buffers come back unchanged.
    ///
    /// # Cancel safety
    /// As [`File::read_at`].
    pub async fn read_vectored_at<B: IoBufMut>(
        &self,
        buffers: Vec<B>,
        offset: u64,
    ) -> BufResult<usize, Vec<B>> {
        if let Err(error) = fits(offset) {
            return (Err(error), buffers);
        }
        let mut loans: Vec<_> = buffers.into_iter().map(B::lend).collect();
        let aligned = loans.iter_mut().try_for_each(|loan| {
            let (start, room) = loan.target();
            self.aligned(offset, start, room)
        });
        if let Err(error) = aligned {
            return settle_all(Err(error), loans);
        }
        let (result, loans) = self.vectored(loans, offset, Way::Read).await;
        settle_all(result, loans)
    }

    /// Writes the initialised bytes of `buffers` at `offset`, one after the other. Returns how many
    /// bytes were written, and the buffers.
    ///
    /// Fewer than asked is normal, as in [`File::write_at`]. Only the first 1,024 buffers are used.
    ///
    /// # Errors
    /// Those of pwritev2(2), as [`File::write_at`].
    ///
    /// # Cancel safety
    /// As [`File::write_at`].
    pub async fn write_vectored_at<B: IoBuf>(
        &self,
        buffers: Vec<B>,
        offset: u64,
    ) -> BufResult<usize, Vec<B>> {
        if let Err(error) = self.placed(offset) {
            return (Err(error), buffers);
        }
        let loans: Vec<_> = buffers.into_iter().map(B::lend_source).collect();
        let aligned = loans.iter().try_for_each(|loan| {
            let (start, length) = loan.source();
            self.aligned(offset, start, length)
        });
        let (result, loans) = match aligned {
            Ok(()) => self.vectored(loans, offset, Way::Write).await,
            Err(error) => (Err(error), loans),
        };
        let buffers = loans.into_iter().map(B::reclaim_source).collect();
        (result.map(|length| length as usize), buffers)
    }

    async fn vectored(
        &self,
        loans: Vec<Loan>,
        offset: u64,
        way: Way,
    ) -> (io::Result<u32>, Vec<Loan>) {
        let request = Request::Vectored {
            file: Rc::clone(self.descriptor()),
            buffers: Vec::with_capacity(loans.len()),
            loans,
            offset,
            way,
        };
        let (result, request) = self.run(request).await;
        let Request::Vectored { loans, .. } = request else {
            unreachable!("an operation returns its own request");
        };
        (result, loans)
    }
}
