package crm

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/encoding"
	encodingproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// An empty record takes two or three bytes of an answer and hundreds in memory,
// so that the limit on bytes alone does not bound what an answer costs.
const (
	// maxAnswerItems is how many records, or other items, an answer may list.
	maxAnswerItems = 100_000
	// maxAnswerParts is how many objects and items an answer may hold at all
	// levels together: ten for each record.
	maxAnswerParts = 10 * maxAnswerItems
)

var (
	errTooManyItems = fmt.Errorf("answer lists more than %d items", maxAnswerItems)
	errTooManyParts = fmt.Errorf("answer holds more than %d parts", maxAnswerParts)
)

// boundsReason words the error of an answer that exceeds a bound; empty for all
// others. gRPC makes text of it.
func boundsReason(err error) string {
	for _, bound := range []error{errTooManyItems, errTooManyParts} {
		if errors.Is(err, bound) || strings.HasSuffix(status.Convert(err).Message(), bound.Error()) {
			return bound.Error()
		}
	}
	return ""
}

// tally counts what an answer holds.
type tally struct{ items, parts int }

func (t *tally) exceeded() error {
	switch {
	case t.items > maxAnswerItems:
		return errTooManyItems
	case t.parts > maxAnswerParts:
		return errTooManyParts
	}
	return nil
}

// boundJSON counts the objects and the items of lists in a text of JSON before it
// is decoded. What is no JSON is for the decoder to find out.
func boundJSON(text []byte) error {
	var count tally
	var open []byte // the brackets that are open
	quoted := false
	item := func() error {
		if len(open) == 1 {
			count.items++
		}
		count.parts++
		return count.exceeded()
	}
	for i := 0; i < len(text); i++ {
		var err error
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[', c == '{':
			open = append(open, c)
			err = item() // a list begins with its first item
		case c == ',' && len(open) > 0 && open[len(open)-1] == '[':
			err = item()
		case (c == ']' || c == '}') && len(open) > 0:
			open = open[:len(open)-1]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// boundProto counts the messages in an encoded one before it is decoded.
func boundProto(data []byte, kind protoreflect.MessageDescriptor) error {
	var count tally
	return count.messages(data, kind, 0)
}

// messages counts those in a message that lies depth levels below the answer. It
// leaves what is not of the right form, or unknown, to the decoder, which makes
// nothing of either.
func (t *tally) messages(data []byte, kind protoreflect.MessageDescriptor, depth int) error {
	for len(data) > 0 && depth < protowire.DefaultRecursionLimit {
		number, wire, n := protowire.ConsumeTag(data)
		if n < 0 {
			return nil
		}
		data = data[n:]
		n = protowire.ConsumeFieldValue(number, wire, data)
		if n < 0 {
			return nil
		}
		value := data[:n]
		data = data[n:]
		field := kind.Fields().ByNumber(number)
		if field == nil || field.Message() == nil || wire != protowire.BytesType {
			continue
		}
		if t.parts++; depth == 0 {
			t.items++
		}
		if err := t.exceeded(); err != nil {
			return err
		}
		inner, _ := protowire.ConsumeBytes(value)
		if err := t.messages(inner, field.Message(), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// boundedCodec is the codec of protobuf for answers that are not trusted.
type boundedCodec struct{ encoding.CodecV2 }

func newBoundedCodec() boundedCodec {
	return boundedCodec{encoding.GetCodecV2(encodingproto.Name)}
}

// Name implements encoding.CodecV2. It is what follows the + in the content type,
// which has none by default.
func (boundedCodec) Name() string { return "" }

// Unmarshal implements encoding.CodecV2.
func (c boundedCodec) Unmarshal(data mem.BufferSlice, into any) error {
	message, ok := into.(proto.Message)
	if !ok {
		return fmt.Errorf("decode an answer into a %T, which is no message", into)
	}
	whole := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer whole.Free()
	if err := boundProto(whole.ReadOnlyData(), message.ProtoReflect().Descriptor()); err != nil {
		return err
	}
	return proto.Unmarshal(whole.ReadOnlyData(), message)
}
