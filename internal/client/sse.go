package client

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
)

// maxEventBytes bounds one message of a stream; a document is at most a few
// mebibytes.
const maxEventBytes = 64 << 20

// message is one server-sent event.
type message struct {
	event string
	// id is the one that this message carries; it does not outlast it, as it
	// would in a browser.
	id   string
	data []byte
}

// messages reads server-sent events (WHATWG HTML, section 9.2).
type messages struct {
	scanner *bufio.Scanner
}

func newMessages(r io.Reader) *messages {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(make([]byte, 0, 64<<10), maxEventBytes)
	scanner.Split(scanStreamLines)
	return &messages{scanner: scanner}
}

// next returns the next message, io.EOF at the end of the stream. A message
// that the end cut off is dropped, as the format wants it.
func (m *messages) next() (message, error) {
	var got message
	var data [][]byte
	for m.scanner.Scan() {
		line := m.scanner.Bytes()
		if len(line) == 0 {
			if data == nil && got.event == "" && got.id == "" {
				continue
			}
			got.data = bytes.Join(data, []byte("\n"))
			return got, nil
		}
		name, value, _ := strings.Cut(string(line), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "": // a comment, which keeps the connection alive
		case "event":
			got.event = value
		case "data":
			data = append(data, []byte(value))
		case "id":
			if !strings.Contains(value, "\x00") {
				got.id = value
			}
		}
	}
	if err := m.scanner.Err(); err != nil {
		return message{}, fmt.Errorf("read stream: %w", err)
	}
	return message{}, io.EOF
}

// scanStreamLines splits at \n, \r\n and \r.
func scanStreamLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	i := bytes.IndexAny(data, "\r\n")
	switch {
	case i < 0 && atEOF && len(data) > 0:
		return len(data), data, nil
	case i < 0:
		return 0, nil, nil
	case data[i] == '\n':
		return i + 1, data[:i], nil
	case i+1 < len(data) && data[i+1] == '\n':
		return i + 2, data[:i], nil
	case i+1 == len(data) && !atEOF:
		return 0, nil, nil // the \n of a \r\n may be still to come
	}
	return i + 1, data[:i], nil
}
