package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// statusError is an answer other than 2xx.
type statusError struct {
	operation string
	status    int
	body      string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s: status %d: %s", e.operation, e.status, e.body)
}

// refusal says what an unexpected status means for a measured operation: a server
// may be unable (5xx, 429), but any other answer is wrong.
func refusal(operation string, resp *fasthttp.Response) error {
	status := resp.StatusCode()
	if status >= 500 || status == fasthttp.StatusTooManyRequests {
		return &statusError{operation: operation, status: status, body: excerpt(resp.Body())}
	}
	return wrongf(operation, "status %d: %s", status, excerpt(resp.Body()))
}

// call sends one request while nothing is measured, and returns the body, which
// is valid until the next call.
func (c *connection) call(ctx context.Context, method, uri string, body []byte) ([]byte, error) {
	c.req.Reset()
	c.req.Header.SetMethod(method)
	c.req.SetRequestURI(uri)
	c.req.Header.SetHost(c.addr)
	if body != nil {
		c.req.Header.SetContentType("application/json")
		c.req.SetBodyRaw(body)
	}
	operation := method + " " + uri
	if err := c.roundTrip(ctx, time.Now()); err != nil {
		return nil, fmt.Errorf("%s: %w", operation, err)
	}
	if status := c.resp.StatusCode(); status < 200 || status > 299 {
		return nil, &statusError{operation: operation, status: status, body: excerpt(c.resp.Body())}
	}
	return c.resp.Body(), nil
}

// captureAnswer keeps a response with the headers that a handler set. (Those that
// every fasthttp server adds by itself are left out.)
func captureAnswer(uri string, resp *fasthttp.Response) answer {
	a := answer{URI: uri, Body: bytes.Clone(resp.Body())}
	for key, value := range resp.Header.All() {
		switch string(key) {
		case fasthttp.HeaderContentLength, fasthttp.HeaderDate, fasthttp.HeaderConnection, fasthttp.HeaderServer:
		default:
			a.Headers = append(a.Headers, [2]string{string(key), string(value)})
		}
	}
	return a
}

// ParseServers turns the URLs of servers into addresses (HOST:PORT).
func ParseServers(urls []string) ([]string, error) {
	addrs := make([]string, 0, len(urls))
	for _, text := range urls {
		if !strings.Contains(text, "://") {
			text = "http://" + text
		}
		u, err := url.Parse(text)
		if err != nil || u.Hostname() == "" {
			return nil, fmt.Errorf("server %q is not a URL such as http://127.0.0.1:8080", text)
		}
		if u.Scheme != "http" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			return nil, fmt.Errorf("server %q: the load generator speaks plain HTTP to HOST:PORT only", text)
		}
		host := u.Host
		if u.Port() == "" {
			host += ":80"
		}
		addrs = append(addrs, host)
	}
	if len(addrs) == 0 {
		return nil, errors.New("no server to load")
	}
	return addrs, nil
}

// Member is what the harness wants to know of a node.
type Member struct {
	Name     string `json:"name"`
	Role     string `json:"role"`
	HTTPAddr string `json:"http_addr"`
}

// Members asks a server who belongs to the cluster.
func Members(ctx context.Context, addr string, timeout time.Duration) ([]Member, error) {
	c := newConnection(addr, timeout)
	defer c.close()
	body, err := c.call(ctx, fasthttp.MethodGet, "/api/v1/members", nil)
	if err != nil {
		return nil, fmt.Errorf("list members: %w", err)
	}
	var members []Member
	if err := json.Unmarshal(body, &members); err != nil {
		return nil, fmt.Errorf("list members: %w", err)
	}
	return members, nil
}
