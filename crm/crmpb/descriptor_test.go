package crmpb_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/oprc/oprc-pm/crm/crmpb"
)

var files = []protoreflect.FileDescriptor{
	crmpb.File_crm_proto_common_proto, crmpb.File_crm_proto_deployment_types_proto, crmpb.File_crm_proto_deployment_proto,
	crmpb.File_crm_proto_runtime_proto, crmpb.File_crm_proto_health_proto, crmpb.File_crm_proto_topology_proto,
}

// The descriptors compiled into the program, one line for each element, must be
// those of the contract. The list is the contract: a line that changes breaks
// CRMs in the field.
func TestContract(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("testdata/contract.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(strings.TrimSpace(string(want)), "\n"), described()); diff != "" {
		t.Errorf("contract (-want +got):\n%s", diff)
	}
}

// The generated code must be that of the .proto files, also when somebody forgets
// to generate it. `crm/proto/generate --check` compares every byte but builds a
// compiler for it; this reads the declarations.
func TestGeneratedFromTheProtoFiles(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("../proto/*.proto")
	if err != nil || len(paths) != len(files) {
		t.Fatalf("got %d .proto files, %v, want %d", len(paths), err, len(files))
	}
	var want []string
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, declared(string(text))...)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, described()); diff != "" {
		t.Errorf("run make proto: the .proto files (-) and the generated code (+) differ:\n%s", diff)
	}
}

// described lists what the program has compiled in, sorted.
func described() []string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	var message func(protoreflect.MessageDescriptor)
	enum := func(e protoreflect.EnumDescriptor) {
		for i := range e.Values().Len() {
			add("%s = %d %s", e.FullName(), e.Values().Get(i).Number(), e.Values().Get(i).Name())
		}
	}
	message = func(m protoreflect.MessageDescriptor) {
		add("message %s", m.FullName())
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			add("%s %d %s %s", m.FullName(), f.Number(), f.Name(), typeOf(f))
		}
		for i := range m.ReservedRanges().Len() {
			for n := m.ReservedRanges().Get(i)[0]; n < m.ReservedRanges().Get(i)[1]; n++ {
				add("%s %d reserved", m.FullName(), n)
			}
		}
		for i := range m.Enums().Len() {
			enum(m.Enums().Get(i))
		}
	}
	for _, file := range files {
		for i := range file.Enums().Len() {
			enum(file.Enums().Get(i))
		}
		for i := range file.Messages().Len() {
			message(file.Messages().Get(i))
		}
		for i := range file.Services().Len() {
			s := file.Services().Get(i)
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				stream := ""
				if m.IsStreamingServer() {
					stream = "stream "
				}
				add("/%s/%s (%s) %s%s", s.FullName(), m.Name(), m.Input().FullName(), stream, m.Output().FullName())
			}
		}
	}
	slices.Sort(lines)
	return lines
}

func typeOf(f protoreflect.FieldDescriptor) string {
	switch {
	case f.IsMap():
		return fmt.Sprintf("map<%s, %s>", typeOf(f.MapKey()), typeOf(f.MapValue()))
	case f.IsList():
		return "repeated " + kindOf(f)
	case f.HasOptionalKeyword():
		return "optional " + kindOf(f)
	}
	return kindOf(f)
}

func kindOf(f protoreflect.FieldDescriptor) string {
	switch f.Kind() {
	case protoreflect.MessageKind:
		return string(f.Message().FullName())
	case protoreflect.EnumKind:
		return string(f.Enum().FullName())
	}
	return f.Kind().String()
}

var (
	packageLine  = regexp.MustCompile(`^package (\S+);$`)
	blockLine    = regexp.MustCompile(`^(message|enum|service) (\w+) \{$`)
	rpcLine      = regexp.MustCompile(`^rpc (\w+)\((\S+)\) returns \((stream )?(\S+)\);$`)
	reservedLine = regexp.MustCompile(`^reserved (.*);$`)
	valueLine    = regexp.MustCompile(`^(\w+) = (\d+);$`)
	fieldLine    = regexp.MustCompile(`^(.+) (\w+) = (\d+);$`)
	typeName     = regexp.MustCompile(`[\w.]+`)
)

// declared lists what a .proto file declares, as described does. It knows the
// form in which these files are written, and no other.
func declared(text string) []string {
	var lines, scope []string
	var pkg string
	nested := map[string]string{} // enums inside of messages
	for _, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "//")
		name := strings.Join(scope, ".")
		if m := packageLine.FindStringSubmatch(line); m != nil {
			pkg, scope = m[1], []string{m[1]}
		} else if m := blockLine.FindStringSubmatch(line); m != nil {
			scope = append(scope, m[2])
			if m[1] == "message" {
				lines = append(lines, "message "+strings.Join(scope, "."))
			} else if len(scope) > 2 {
				nested[m[2]] = strings.Join(scope, ".")
			}
		} else if line == "}" {
			scope = scope[:len(scope)-1]
		} else if m := rpcLine.FindStringSubmatch(line); m != nil {
			lines = append(lines, fmt.Sprintf("/%s/%s (%s) %s%s", name, m[1], qualified(pkg, m[2], nil), m[3], qualified(pkg, m[4], nil)))
		} else if m := reservedLine.FindStringSubmatch(line); m != nil {
			for number := range strings.SplitSeq(m[1], ", ") {
				lines = append(lines, name+" "+number+" reserved")
			}
		} else if m := valueLine.FindStringSubmatch(line); m != nil {
			lines = append(lines, fmt.Sprintf("%s = %s %s", name, m[2], m[1]))
		} else if m := fieldLine.FindStringSubmatch(line); m != nil && len(scope) > 1 {
			lines = append(lines, fmt.Sprintf("%s %s %s %s", name, m[3], m[2], qualified(pkg, m[1], nested)))
		}
	}
	return lines
}

// qualified writes the types of a declaration with their packages.
func qualified(pkg, declaration string, nested map[string]string) string {
	return typeName.ReplaceAllStringFunc(declaration, func(word string) string {
		switch {
		case nested[word] != "":
			return nested[word]
		case strings.Contains(word, ".") || strings.ToLower(word) == word:
			return word // qualified already, a scalar or a keyword
		}
		return pkg + "." + word
	})
}
