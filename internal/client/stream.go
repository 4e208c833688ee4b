package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Stream opens an answer that is too large for memory, from the first server that
// gives one. It is not bounded in time once it has begun, but by ctx and by stall, the
// longest silence. The caller closes the body.
func (c *Client) Stream(ctx context.Context, r Request, stall time.Duration) (*http.Response, error) {
	var last error
	first := int(c.preferred.Load())
	for attempt := range c.servers {
		index := (first + attempt) % len(c.servers)
		response, err := c.stream(ctx, c.servers[index], r, stall)
		if err == nil {
			c.preferred.Store(int64(index))
			return response, nil
		}
		last = err
		var answered *Error
		if ctx.Err() != nil || errors.As(err, &answered) && !again(answered) {
			break
		}
	}
	return nil, last
}

var errStalled = errors.New("no data in time")

func (c *Client) stream(ctx context.Context, server string, r Request, stall time.Duration) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(stall, func() { cancel(errStalled) })
	fail := func(err error) error {
		timer.Stop()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		cancel(nil)
		return err
	}
	request, err := c.newRequest(ctx, server, r)
	if err != nil {
		return nil, fail(err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fail(&UnreachableError{Servers: []string{server}, Err: plain(err)})
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
		err = errors.Join(err, response.Body.Close())
		if err != nil {
			return nil, fail(fmt.Errorf("read answer: %w", err))
		}
		defer cancel(nil)
		timer.Stop()
		return nil, errorFrom(server, response, body)
	}
	response.Body = &stallReader{ReadCloser: response.Body, ctx: ctx, cancel: cancel, timer: timer, stall: stall}
	return response, nil
}

// stallReader ends a body that is silent for too long.
type stallReader struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	stall  time.Duration
}

// Read implements io.Reader.
func (s *stallReader) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		if cause := context.Cause(s.ctx); cause != nil {
			err = cause
		}
		return n, err
	}
	s.timer.Reset(s.stall)
	return n, err
}

// Close implements io.Closer.
func (s *stallReader) Close() error {
	s.timer.Stop()
	s.cancel(nil)
	return s.ReadCloser.Close()
}

// Upload sends a body of a known size and type once, to the first server that can be
// dialled; the answer is read whole.
func (c *Client) Upload(ctx context.Context, r Request, contentType string, size int64, open func() (io.ReadCloser, error)) (*Response, error) {
	var last error
	for _, server := range c.servers {
		response, err := c.upload(ctx, server, r, contentType, size, open)
		if err == nil || !notDialled(err) {
			return response, c.uploaded(err)
		}
		last = err
	}
	return nil, c.uploaded(last)
}

func (c *Client) uploaded(err error) error {
	if err == nil {
		return nil
	}
	sent := false
	return c.failure(err, Request{Method: http.MethodPost}, &sent)
}

func (c *Client) upload(ctx context.Context, server string, r Request, contentType string, size int64, open func() (io.ReadCloser, error)) (*Response, error) {
	request, err := c.newRequest(ctx, server, r)
	if err != nil {
		return nil, err
	}
	body, err := open()
	if err != nil {
		return nil, err
	}
	// The transport closes it.
	request.Body, request.ContentLength = body, size
	request.Header.Set("Content-Type", contentType)
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return nil, errorFrom(server, response, answer)
	}
	return &Response{Status: response.StatusCode, Header: response.Header, Body: answer, Server: server}, nil
}
