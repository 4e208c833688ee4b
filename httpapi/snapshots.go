package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/backup"
)

// Snapshots makes backups and restores them. Errors are *model.Error, or defects.
type Snapshots interface {
	// Save writes a backup to w; begin gets its header first.
	Save(ctx context.Context, w io.Writer, consistency storage.Consistency, begin func(backup.Header) error) error
	// Restore replaces the state of the cluster.
	Restore(ctx context.Context, file io.ReadSeeker, force bool) (backup.Header, storage.Result, error)
	// List tells what is at the destinations of scheduled backups, the newest first;
	// Run makes one there now. Errors: failed_precondition where there is none.
	List(ctx context.Context) ([]model.StoredBackup, error)
	Run(ctx context.Context) ([]model.StoredBackup, error)
}

const (
	snapshotPath = "/api/v1/cluster/snapshot"
	// restoreTimeout bounds a restore and snapshotTimeout the transfer of a backup.
	restoreTimeout  = 15 * time.Minute
	snapshotTimeout = time.Hour

	contentBackup = "application/vnd.oprc.backup"
	headerDigest  = "X-Oprc-Digest"
	headerContent = "X-Oprc-Content-Digest"
)

// limitsOf gives the bodies of backups limits of their own.
func (s *Server) limitsOf(header *fasthttp.RequestHeader) fasthttp.RequestConfig {
	path, _, _ := bytes.Cut(header.RequestURI(), []byte("?"))
	if string(path) != snapshotPath || !header.IsPost() {
		return fasthttp.RequestConfig{}
	}
	return fasthttp.RequestConfig{MaxRequestBodySize: s.cfg.MaxRestoreBytes, ReadTimeout: snapshotTimeout}
}

func (rq request) snapshots() (Snapshots, error) {
	if rq.s.deps.Snapshots == nil {
		return nil, model.Errorf(model.CodeFailedPrecondition, "this node makes no backups")
	}
	return rq.s.deps.Snapshots, nil
}

// handleSaveSnapshot streams a backup. What goes wrong after the first byte breaks the
// connection; the file ends in a checksum.
func (s *Server) handleSaveSnapshot(rq request) error {
	snapshots, err := rq.snapshots()
	if err != nil {
		return err
	}
	opts, err := rq.readOptions()
	if err != nil {
		return err
	}
	rq.ctx.SetContentType(contentBackup)
	if rq.ctx.IsHead() {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.base, snapshotTimeout)
	r, w := io.Pipe()
	stream := &snapshotStream{
		PipeReader: r, conn: rq.ctx.Conn(), patience: s.cfg.WriteTimeout, cancel: cancel, done: make(chan struct{}),
	}
	begun := make(chan backup.Header, 1)
	failed := make(chan error, 1)
	go func() { // ends with the stream
		defer close(stream.done)
		err := snapshots.Save(ctx, w, opts.Consistency, func(h backup.Header) error {
			begun <- h
			return nil
		})
		failed <- err
		if err := w.CloseWithError(err); err != nil {
			s.deps.Logger.Debug("backup stream closed", "err", err)
		}
	}()
	select {
	case h := <-begun:
		rq.setIndex(h.Index)
		rq.ctx.Response.Header.Set(headerDigest, h.Digest)
		rq.ctx.Response.Header.Set(headerContent, h.ContentDigest)
		rq.ctx.Response.Header.Set(fasthttp.HeaderContentDisposition,
			`attachment; filename="oprc-`+strconv.FormatUint(h.Index, 10)+`.backup"`)
		rq.ctx.SetBodyStream(stream, -1)
		return nil
	case err := <-failed:
		if err == nil {
			err = errors.New("the backup has no header")
		}
		return errors.Join(err, stream.Close())
	}
}

// snapshotStream is the body of an answer. Each piece has a write deadline of its own.
type snapshotStream struct {
	*io.PipeReader
	conn     net.Conn
	patience time.Duration
	cancel   context.CancelFunc
	done     chan struct{}
}

// Read implements io.Reader.
func (s *snapshotStream) Read(p []byte) (int, error) {
	n, err := s.PipeReader.Read(p)
	if derr := s.conn.SetWriteDeadline(time.Now().Add(s.patience)); derr != nil {
		return n, derr
	}
	return n, err
}

// Close ends the backup, and returns when it has.
func (s *snapshotStream) Close() error {
	s.cancel()
	err := s.PipeReader.Close()
	<-s.done
	return err
}

// restoreAnswer tells what was restored.
type restoreAnswer struct {
	Status      string            `json:"status"`
	Index       uint64            `json:"index"`
	FromCluster string            `json:"from_cluster"`
	FromIndex   uint64            `json:"from_index"`
	Content     string            `json:"content_digest"`
	Documents   map[string]uint64 `json:"documents"`
}

// handleRestoreSnapshot replaces the cluster's state by that of the backup in the body.
func (s *Server) handleRestoreSnapshot(rq request) error {
	snapshots, err := rq.snapshots()
	if err != nil {
		return err
	}
	force, _, err := rq.queryBool("force")
	if err != nil {
		return err
	}
	body := rq.ctx.PostBody()
	if len(body) == 0 {
		return invalidField("body", "the body must be a backup")
	}
	if !s.restoring.TryLock() {
		return model.Errorf(model.CodeUnavailable, "this node is restoring another backup; try again")
	}
	defer s.restoring.Unlock()
	ctx, cancel := context.WithTimeout(s.base, restoreTimeout)
	defer cancel()
	h, result, err := snapshots.Restore(ctx, bytes.NewReader(body), force)
	if err != nil {
		return err
	}
	rq.setIndex(result.Index)
	return rq.answerValue(restoreAnswer{
		Status: "restored", Index: result.Index, FromCluster: h.ClusterID, FromIndex: h.Index, Content: h.ContentDigest, Documents: h.Documents,
	})
}

// handleListSnapshots tells what scheduled backups there are.
func (s *Server) handleListSnapshots(rq request) error {
	return rq.answerBackups(s.cfg.RequestTimeout, Snapshots.List)
}

// handleRunSnapshot makes a backup now, where the scheduled ones go.
func (s *Server) handleRunSnapshot(rq request) error {
	return rq.answerBackups(restoreTimeout, Snapshots.Run)
}

func (rq request) answerBackups(timeout time.Duration, get func(Snapshots, context.Context) ([]model.StoredBackup, error)) error {
	snapshots, err := rq.snapshots()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(rq.s.base, timeout)
	defer cancel()
	list, err := get(snapshots, ctx)
	if err != nil {
		return err
	}
	if list == nil {
		list = []model.StoredBackup{}
	}
	return rq.answerValue(list)
}
