package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/oprc/oprc-pm/internal/wait"
	"github.com/oprc/oprc-pm/model"
)

const (
	backoffMin = 100 * time.Millisecond
	backoffMax = 2 * time.Second
	// maxAnswerBytes bounds an answer that is read into memory.
	maxAnswerBytes = 256 << 20
)

// Config describes whom to talk to, and how patiently.
type Config struct {
	// Servers are base URLs; http:// is added to what has no scheme.
	Servers []string
	// HTTP sends the requests; nil means a client of its own.
	HTTP *http.Client
	// UserAgent is sent with every request.
	UserAgent string
	// Timeout bounds one call with all its repetitions.
	Timeout time.Duration
	// AttemptTimeout bounds one request, so that a server which accepts and says
	// nothing does not use up Timeout.
	AttemptTimeout time.Duration
	// RefusedRounds is how often all servers are tried while each refuses the
	// connection: there is nobody who could become ready.
	RefusedRounds int
}

// DefaultConfig returns the settings for one server on this host.
func DefaultConfig() Config {
	return Config{
		Servers:        []string{"http://127.0.0.1:8080"},
		UserAgent:      "oprc-pm",
		Timeout:        30 * time.Second,
		AttemptTimeout: 15 * time.Second,
		RefusedRounds:  5,
	}
}

// Client calls the API. It may be used by many goroutines.
type Client struct {
	cfg     Config
	servers []string
	http    *http.Client
	// owned is set when http was made here, and Close must close it.
	owned bool
	// preferred is the index of the server that answered last.
	preferred atomic.Int64
}

// New makes a client. It does no I/O.
func New(cfg Config) (*Client, error) {
	c := &Client{cfg: cfg, http: cfg.HTTP}
	for _, server := range cfg.Servers {
		base, err := baseURL(server)
		if err != nil {
			return nil, err
		}
		c.servers = append(c.servers, base)
	}
	if len(c.servers) == 0 {
		return nil, errors.New("no server is given")
	}
	if c.http == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost = 64
		// A redirected write would be sent again as something else.
		c.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}}
		c.owned = true
	}
	return c, nil
}

// Close drops idle connections.
func (c *Client) Close() {
	if c.owned {
		c.http.CloseIdleConnections()
	}
}

// Servers returns the base URLs.
func (c *Client) Servers() []string { return c.servers }

func baseURL(server string) (string, error) {
	text := strings.TrimSpace(server)
	if text != "" && !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("%q is not the URL of a server, such as http://127.0.0.1:8080", server)
	}
	return strings.TrimRight(text, "/"), nil
}

// Request is one call. A Body makes it JSON.
type Request struct {
	Method string
	// Path begins with a slash; its segments are escaped (see Path).
	Path   string
	Query  url.Values
	Body   []byte
	Header http.Header
	// Wait is how much longer than usual the server may take, because it was
	// asked to wait.
	Wait time.Duration
	// IdempotencyKey of a write; empty means a random one.
	IdempotencyKey string
	// Once keeps the request from being sent again.
	Once bool
}

// Response is the answer to a successful call.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
	Server string
}

// Path joins segments, escaped, to a path.
func Path(segments ...string) string {
	var path strings.Builder
	for _, segment := range segments {
		path.WriteByte('/')
		path.WriteString(url.PathEscape(segment))
	}
	return path.String()
}

// Do sends a request until there is an answer that sending it again would not
// change, or the time is up. Errors: *Error, *UnreachableError, or ctx's own.
func (c *Client) Do(ctx context.Context, r Request) (*Response, error) {
	if c.cfg.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.Timeout+r.Wait)
		defer cancel()
	}
	if r.IdempotencyKey == "" && r.Method != http.MethodGet {
		r.IdempotencyKey = rand.Text()
	}
	first := int(c.preferred.Load())
	sent := false // a write may have arrived somewhere
	for attempt := 0; ; attempt++ {
		index := (first + attempt) % len(c.servers)
		response, err := c.once(ctx, c.servers[index], r)
		if err == nil {
			c.preferred.Store(int64(index))
			return response, nil
		}
		refused := notDialled(err)
		err = c.failure(err, r, &sent)
		round, last := (attempt+1)/len(c.servers), (attempt+1)%len(c.servers) == 0
		switch {
		case r.Once || !again(err):
			return nil, err
		case refused && last && round >= c.cfg.RefusedRounds:
			return nil, err
		case last && !pause(ctx, backoff(round, err)):
			return nil, err
		case ctx.Err() != nil:
			return nil, err
		}
	}
}

// failure words what went wrong with one attempt, and notes in sent whether a
// write may have been made. Once it may, no later attempt that changed nothing
// can tell that nothing was changed.
func (c *Client) failure(err error, r Request, sent *bool) error {
	var answered *Error
	if errors.As(err, &answered) {
		*sent = *sent || answered.Code == model.CodeUnknownOutcome
		if *sent && again(answered) && answered.Code != model.CodeUnknownOutcome {
			answered.Code = model.CodeUnknownOutcome
			answered.Message += " (an earlier attempt may have made the change)"
		}
		return answered
	}
	*sent = *sent || r.Method != http.MethodGet && !notDialled(err)
	return &UnreachableError{Servers: c.servers, Err: plain(err), Sent: *sent}
}

// once sends a request to one server.
func (c *Client) once(ctx context.Context, server string, r Request) (*Response, error) {
	if c.cfg.AttemptTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.AttemptTimeout+r.Wait)
		defer cancel()
	}
	request, err := c.newRequest(ctx, server, r)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if len(body) > maxAnswerBytes {
		return nil, &Error{Status: response.StatusCode, Server: server, Code: "too_large", Message: "the answer is too large; use a limit"}
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return nil, errorFrom(server, response, body)
	}
	return &Response{Status: response.StatusCode, Header: response.Header, Body: body, Server: server}, nil
}

func (c *Client) newRequest(ctx context.Context, server string, r Request) (*http.Request, error) {
	target := server + r.Path
	if len(r.Query) > 0 {
		target += "?" + r.Query.Encode()
	}
	var body io.Reader
	if r.Body != nil {
		body = bytes.NewReader(r.Body)
	}
	request, err := http.NewRequestWithContext(ctx, r.Method, target, body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	for name, values := range r.Header {
		request.Header[name] = values
	}
	if r.Body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if r.IdempotencyKey != "" {
		request.Header.Set("Idempotency-Key", r.IdempotencyKey)
	}
	request.Header.Set("User-Agent", c.cfg.UserAgent)
	return request, nil
}

// notDialled reports whether the request cannot have been sent.
func notDialled(err error) bool {
	var op *net.OpError
	return errors.Is(err, syscall.ECONNREFUSED) || errors.As(err, &op) && op.Op == "dial"
}

// plain drops the method and the URL that net/http puts before the cause.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	return err
}

// backoff grows with each round through the servers, with jitter, and follows
// the server's wish where it has one.
func backoff(round int, err error) time.Duration {
	wait := min(backoffMin<<min(round-1, 10), backoffMax)
	var answered *Error
	if errors.As(err, &answered) && answered.RetryAfter > 0 {
		// A second is the smallest that Retry-After can say; an election is
		// usually over earlier.
		wait = min(max(wait, answered.RetryAfter/4), answered.RetryAfter)
	}
	return wait/2 + mathrand.N(wait/2+1)
}

// pause waits, unless ctx ends first or would end before.
func pause(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < d {
		return false
	}
	return wait.For(ctx, d)
}
