package httpapi

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"github.com/oprc/oprc-pm/storage"
)

// maxNameBytes bounds a name in a path or query, once decoded. No valid name is
// longer.
const maxNameBytes = 512

// request is one request on its way through a handler, passed by value so that
// it costs no allocation. It must not outlive the handler.
type request struct {
	s   *Server
	ctx *fasthttp.RequestCtx
}

// id returns the request id that the answer carries.
func (rq request) id() string {
	return string(rq.ctx.Response.Header.PeekBytes(headerRequestID))
}

// deadline returns a context that ends after timeout, or when the server has
// been shut down. release must be called.
func (rq request) deadline(timeout time.Duration) *deadlineContext {
	return newDeadlineContext(rq.s.base, time.Now().Add(timeout))
}

// pathParam returns a decoded path parameter: a single segment that is safe as
// a name. Errors name the parameter.
func (rq request) pathParam(name string) (string, error) {
	raw, _ := rq.ctx.UserValue(name).(string)
	value, ok := unescapeSegment(raw)
	if !ok {
		return "", invalidField(name, "path parameter %s has a malformed percent escape", name)
	}
	if problem := checkName(value); problem != "" {
		return "", invalidField(name, "path parameter %s %s", name, problem)
	}
	return value, nil
}

// checkName says what keeps value from being a name in a URL, or "".
func checkName(value string) string {
	switch {
	case value == "":
		return "is empty"
	case len(value) > maxNameBytes:
		return "is longer than " + strconv.Itoa(maxNameBytes) + " bytes"
	case !utf8.ValidString(value):
		return "is not valid UTF-8"
	case value == "." || value == "..":
		return "must not be . or .."
	case strings.ContainsAny(value, "/\\"):
		return "must not contain a slash"
	}
	for i := 0; i < len(value); i++ {
		if value[i] < ' ' || value[i] == 0x7f {
			return "must not contain control characters"
		}
	}
	return ""
}

// unescapeSegment decodes percent escapes, strictly.
func unescapeSegment(raw string) (value string, ok bool) {
	if strings.IndexByte(raw, '%') < 0 {
		return raw, true
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '%' {
			out = append(out, raw[i])
			continue
		}
		if i+2 >= len(raw) {
			return "", false
		}
		b, err := strconv.ParseUint(raw[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		out = append(out, byte(b))
		i += 2
	}
	return string(out), true
}

// query returns a query parameter that may be given at most once.
func (rq request) query(name string) (value string, given bool, err error) {
	if len(rq.ctx.URI().QueryString()) == 0 {
		return "", false, nil
	}
	for key, v := range rq.ctx.QueryArgs().All() {
		if string(key) != name {
			continue
		}
		if given {
			return "", false, invalidField(name, "query parameter %s is given more than once", name)
		}
		if !utf8.Valid(v) {
			return "", false, invalidField(name, "query parameter %s is not valid UTF-8", name)
		}
		if len(v) > 4*maxNameBytes {
			return "", false, invalidField(name, "query parameter %s is too long", name)
		}
		value, given = string(v), true
	}
	return value, given, nil
}

// queryBool reads true or false; absent is false.
func (rq request) queryBool(name string) (value, given bool, err error) {
	text, given, err := rq.query(name)
	if err != nil || !given {
		return false, false, err
	}
	switch text {
	case "true", "1", "":
		return true, true, nil
	case "false", "0":
		return false, true, nil
	}
	return false, false, invalidField(name, "query parameter %s must be true or false, not %q", name, printable([]byte(text)))
}

// queryCount reads a number that is not negative.
func (rq request) queryCount(name string) (value int, given bool, err error) {
	text, given, err := rq.query(name)
	if err != nil || !given {
		return 0, false, err
	}
	n, perr := strconv.ParseUint(text, 10, 31)
	if perr != nil {
		return 0, false, invalidField(name, "query parameter %s must be a number from 0 to 2147483647, not %q", name, printable([]byte(text)))
	}
	return int(n), true, nil
}

// queryIndex reads a log index.
func (rq request) queryIndex(name string) (uint64, error) {
	text, given, err := rq.query(name)
	if err != nil || !given {
		return 0, err
	}
	n, perr := strconv.ParseUint(text, 10, 64)
	if perr != nil {
		return 0, invalidField(name, "query parameter %s must be a log index, not %q", name, printable([]byte(text)))
	}
	return n, nil
}

// queryName reads a value that is compared with names.
func (rq request) queryName(name string) (string, error) {
	text, given, err := rq.query(name)
	if err != nil || !given || text == "" {
		return "", err
	}
	if problem := checkName(text); problem != "" {
		return "", invalidField(name, "query parameter %s %s", name, problem)
	}
	return text, nil
}

// queryWait reads a duration such as 30s, or a number of seconds, capped by
// configuration. Absent is 0.
func (rq request) queryWait() (time.Duration, error) {
	const name = "wait"
	text, given, err := rq.query(name)
	if err != nil || !given {
		return 0, err
	}
	wait, perr := time.ParseDuration(text)
	if perr != nil {
		var seconds uint64
		seconds, perr = strconv.ParseUint(text, 10, 31)
		wait = time.Duration(seconds) * time.Second
	}
	if perr != nil || wait < 0 {
		return 0, invalidField(name, "query parameter %s must be a duration such as 30s, not %q", name, printable([]byte(text)))
	}
	return min(wait, rq.s.cfg.MaxWait), nil
}

// readOptions reads ?consistency= and ?min_index=.
func (rq request) readOptions() (storage.ReadOptions, error) {
	var opts storage.ReadOptions
	if len(rq.ctx.URI().QueryString()) == 0 {
		return opts, nil
	}
	level, given, err := rq.query("consistency")
	if err != nil {
		return opts, err
	}
	switch {
	case !given || level == "linearizable":
		opts.Consistency = storage.Linearizable
	case level == "lease":
		opts.Consistency = storage.Lease
	case level == "stale":
		opts.Consistency = storage.Stale
	default:
		return opts, invalidField("consistency", "query parameter consistency must be linearizable, lease or stale, not %q", printable([]byte(level)))
	}
	opts.MinIndex, err = rq.queryIndex("min_index")
	return opts, err
}

// view reads from the store and sets the headers that tell how fresh the answer
// is.
func (rq request) view(opts storage.ReadOptions, fn func(storage.Reader) error) (storage.ReadInfo, error) {
	if err := rq.s.startedFor(opts); err != nil {
		return storage.ReadInfo{}, err
	}
	ctx := rq.deadline(rq.s.cfg.RequestTimeout)
	info, err := rq.s.deps.Store.View(ctx, opts, fn)
	ctx.release()
	if err == nil {
		rq.setReadHeaders(opts, info)
	}
	return info, err
}

func (rq request) setReadHeaders(opts storage.ReadOptions, info storage.ReadInfo) {
	rq.setIndex(info.Index)
	if opts.Consistency == storage.Stale {
		rq.setLastContact(info.LastContact)
	}
}

// setLastContact tells how long ago this node heard from the leader; -1: never.
func (rq request) setLastContact(ago time.Duration) {
	ms := ago.Milliseconds()
	if ago < 0 {
		ms = -1
	}
	var buf [20]byte
	rq.ctx.Response.Header.SetCanonical(headerLastContact, strconv.AppendInt(buf[:0], ms, 10))
}

func (rq request) setIndex(index uint64) {
	var buf [20]byte
	rq.ctx.Response.Header.SetCanonical(headerIndex, strconv.AppendUint(buf[:0], index, 10))
}

func (rq request) setETag(version uint64) {
	var buf [24]byte
	rq.ctx.Response.Header.SetCanonical(headerETag, appendTag(buf[:0], version))
}

// appendTag appends the entity tag of a resource version.
func appendTag(dst []byte, version uint64) []byte {
	return append(strconv.AppendUint(append(dst, '"'), version, 10), '"')
}

// answerJSON sets a JSON body that the response may keep.
func (rq request) answerJSON(status int, body []byte) error {
	rq.ctx.SetStatusCode(status)
	rq.ctx.SetContentType(contentJSON)
	rq.ctx.Response.SetBodyRaw(body)
	return nil
}
