package model_test

import (
	"fmt"
	"testing"

	"github.com/oprc/oprc-pm/model"
)

// packageOf makes a valid package document of at least size bytes.
func packageOf(tb testing.TB, size int) []byte {
	tb.Helper()
	image, description, cpu, memory := "registry.local/shop/cart:1.4.2", "Keeps what a customer is about to buy.", model.Quantity("250m"), model.Quantity("128Mi")
	p := model.Package{Name: "shop", Dependencies: []string{"users", "billing"}}
	p.Metadata.Tags = []string{"demo", "retail"}
	for i := 0; ; i++ {
		key := fmt.Sprintf("Cart%d", i)
		p.Classes = append(p.Classes, model.Class{
			Key: key, Description: &description,
			StateSpec:        &model.StateSpecification{ConsistencyModel: model.ConsistencyStrong, Persistent: true},
			FunctionBindings: []model.FunctionBinding{{Name: "add", FunctionKey: key + ".add", AccessModifier: model.AccessPublic}},
		})
		p.Functions = append(p.Functions, model.Function{
			Key: key + ".add", Description: &description,
			ProvisionConfig: &model.ProvisionConfig{ContainerImage: &image, CPURequest: &cpu, MemoryRequest: &memory},
			Config:          map[string]string{"HTTP_PORT": "80", "LOG_LEVEL": "info"},
		})
		p.SetDefaults()
		line, err := model.EncodePackage(p)
		if err != nil {
			tb.Fatal(err)
		}
		if len(line) >= size {
			return append(append([]byte{'{'}, line...), '}')
		}
	}
}

func BenchmarkDecodePackage(b *testing.B) {
	for _, size := range []int{2 << 10, 64 << 10} {
		data := packageOf(b, size)
		yamlData, err := model.MarshalYAML(mustDecode(b, data))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("json_%dKiB", size>>10), func(b *testing.B) { benchmarkDecode(b, data, model.JSON) })
		b.Run(fmt.Sprintf("yaml_%dKiB", size>>10), func(b *testing.B) { benchmarkDecode(b, yamlData, model.YAML) })
	}
}

func benchmarkDecode(b *testing.B, data []byte, f model.Format) {
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, _, err := model.DecodePackage(data, f); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodePackage(b *testing.B) {
	p := mustDecode(b, packageOf(b, 2<<10))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := model.EncodePackage(p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParsePackage(b *testing.B) {
	data := packageOf(b, 2<<10)
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := model.ParsePackage(data); err != nil {
			b.Fatal(err)
		}
	}
}

func mustDecode(tb testing.TB, data []byte) model.Package {
	tb.Helper()
	p, _, err := model.DecodePackage(data, model.JSON)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}
