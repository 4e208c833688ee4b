package crm

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/oprc/oprc-pm/crm/crmpb"
)

// An answer of many empty records costs no memory, over either protocol: it is
// refused before it is decoded.
func TestAnswersOfEmptyRecordsAreBounded(t *testing.T) {
	const many = 2_000_000
	for name, test := range map[string]struct {
		body, want string
	}{
		"records":              {"[" + strings.Repeat("{},", many) + "{}]", errTooManyItems.Error()},
		"nothings":             {"[" + strings.Repeat("null,", many/2) + "null]", errTooManyItems.Error()},
		"resources in records": {`[{"resource_refs":[` + strings.Repeat("{},", many) + `{}]}]`, errTooManyParts.Error()},
		"nothings in records":  {`[{"status":{"functions":[` + strings.Repeat("null,", many/2) + `null]}}]`, errTooManyParts.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			client := newTestClient(t, newHTTPServer(t, nil, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(test.body))
			})), nil)
			wantRefused(t, client, test.want)
		})
	}
	for name, test := range map[string]struct {
		answer []byte
		want   string
	}{
		"records over gRPC":              {bytes.Repeat([]byte{0x0a, 0}, many), errTooManyItems.Error()},
		"resources in records over gRPC": {nested(bytes.Repeat([]byte{0x4a, 0}, many)), errTooManyParts.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			answer := &crmpb.ListClassRuntimesResponse{}
			// The fields of an answer can be sent as if they were unknown.
			answer.ProtoReflect().SetUnknown(test.answer)
			recorder := &grpcRecorder{answer: func(context.Context, string, proto.Message) (proto.Message, error) { return answer, nil }}
			wantRefused(t, newTestGRPCClient(t, "http://"+newGRPCServer(t, nil, recorder), nil), test.want)
		})
	}
}

// nested is a list of one record that holds fields.
func nested(fields []byte) []byte {
	length := len(fields)
	head := []byte{0x0a}
	for ; length >= 0x80; length >>= 7 {
		head = append(head, byte(length)|0x80)
	}
	return append(append(head, byte(length)), fields...)
}

func wantRefused(t *testing.T, client Client, reason string) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := client.Records(t.Context(), Origin{}, RecordFilter{Limit: 1})
	runtime.ReadMemStats(&after)
	var failed *CallError
	if !errors.As(err, &failed) || failed.Reason != reason || failed.Class != ClassRetryable || failed.Status != http.StatusOK {
		t.Errorf("got %+v, want %q, retryable, 200", failed, reason)
	}
	// What is read, twice for the way through the test's own server.
	if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 120 {
		t.Errorf("it took %d MiB", used)
	}
}

func TestBoundJSON(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		text string
		want error
	}{
		"as many as may be":       {"[" + strings.Repeat("1,", maxAnswerItems-1) + "1]", nil},
		"one more":                {"[" + strings.Repeat("1,", maxAnswerItems) + "1]", errTooManyItems},
		"commas in texts":         {`["` + strings.Repeat(`\",{[`, 2*maxAnswerItems) + `"]`, nil},
		"members are no items":    {`{"a":` + strings.Repeat(`1,"a":`, 2*maxAnswerItems) + `1}`, nil},
		"lists in lists":          {"[" + strings.Repeat("[", maxAnswerParts), errTooManyParts},
		"brackets that close":     {strings.Repeat("]", 5), nil},
		"a text that has no end":  {`["\`, nil},
		"what is no JSON":         {"<html>", nil},
		"nothing":                 {"", nil},
		"a number, then anything": {"1,2,3", nil},
	} {
		if got := boundJSON([]byte(test.text)); !errors.Is(got, test.want) {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

func TestBoundProto(t *testing.T) {
	t.Parallel()
	list := (&crmpb.ListClassRuntimesResponse{}).ProtoReflect().Descriptor()
	for name, test := range map[string]struct {
		data []byte
		want error
	}{
		"as many as may be":  {bytes.Repeat([]byte{0x0a, 0}, maxAnswerItems), nil},
		"one more":           {bytes.Repeat([]byte{0x0a, 0}, maxAnswerItems+1), errTooManyItems},
		"unknown fields":     {bytes.Repeat([]byte{0x7a, 0}, 2*maxAnswerItems), nil},
		"texts in a record":  {nested(bytes.Repeat([]byte{0x0a, 0}, 2*maxAnswerItems)), nil},
		"parts of a record":  {nested(bytes.Repeat([]byte{0x4a, 0}, maxAnswerParts)), errTooManyParts},
		"what is no message": {[]byte{0x07, 0xff, 0xff}, nil},
		"a length too many":  {[]byte{0x0a, 0x05, 0x01}, nil},
		"numbers for items":  {bytes.Repeat([]byte{0x08, 1}, 2*maxAnswerItems), nil},
	} {
		if got := boundProto(test.data, list); !errors.Is(got, test.want) {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}
