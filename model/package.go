package model

// Package (OPackage) is a named set of classes and functions.
//
// The json tags name and order the fields. Members that are optional in input
// and may be null are pointers; bind:"required" marks a member that must be
// present although its zero value is legal.
//
// The order of the fields is the order of the encoded document: what the store
// must find quickly (metadata, dependencies) comes before what is long.
type Package struct {
	Meta
	Name         string          `json:"name"`
	Version      *string         `json:"version"`
	Metadata     PackageMetadata `json:"metadata"`
	Dependencies []string        `json:"dependencies"`
	Disabled     bool            `json:"disabled,omitempty"`
	Classes      []Class         `json:"classes"`
	Functions    []Function      `json:"functions"`
	// Deployments may be embedded in input. A stored package holds none: they
	// are resources of their own.
	Deployments []Deployment `json:"deployments"`
}

// PackageMetadata describes a package to people.
type PackageMetadata struct {
	Author      *string  `json:"author"`
	Description *string  `json:"description"`
	Tags        []string `json:"tags"`
	CreatedAt   *string  `json:"created_at,omitempty"`
	UpdatedAt   *string  `json:"updated_at,omitempty"`
}

// Class (OClass) is a type of object: its state and the functions bound to it.
type Class struct {
	Key              string              `json:"key"`
	Description      *string             `json:"description"`
	StateSpec        *StateSpecification `json:"state_spec"`
	FunctionBindings []FunctionBinding   `json:"function_bindings"`
}

// FunctionBinding makes a function callable on the objects of a class.
type FunctionBinding struct {
	Name           string         `json:"name"`
	FunctionKey    string         `json:"function_key"`
	AccessModifier AccessModifier `json:"access_modifier"`
	Stateless      bool           `json:"stateless"`
	Parameters     []string       `json:"parameters"`
}

// StateSpecification tells how the objects of a class keep their state.
type StateSpecification struct {
	KeySpecs            []KeySpecification `json:"key_specs,omitempty"`
	DefaultProvider     string             `json:"default_provider,omitempty"`
	ConsistencyModel    ConsistencyModel   `json:"consistency_model"`
	Persistent          bool               `json:"persistent"`
	SerializationFormat string             `json:"serialization_format"`
}

// KeySpecification names one key of an object's state.
type KeySpecification struct {
	Name    string `json:"name"`
	KeyType string `json:"key_type" bind:"required"`
}

// Function (OFunction) is code that a cluster can run.
type Function struct {
	Key             string            `json:"key"`
	FunctionType    FunctionType      `json:"function_type"`
	Description     *string           `json:"description"`
	ProvisionConfig *ProvisionConfig  `json:"provision_config"`
	Config          map[string]string `json:"config"`
}

// ProvisionConfig tells how a function is run.
type ProvisionConfig struct {
	ContainerImage *string   `json:"container_image,omitempty"`
	WasmModuleURL  *string   `json:"wasm_module_url,omitempty"`
	Port           *uint16   `json:"port"`
	MaxConcurrency uint32    `json:"max_concurrency"`
	NeedHTTP2      bool      `json:"need_http2"`
	CPURequest     *Quantity `json:"cpu_request"`
	MemoryRequest  *Quantity `json:"memory_request"`
	CPULimit       *Quantity `json:"cpu_limit"`
	MemoryLimit    *Quantity `json:"memory_limit"`
	MinScale       *uint32   `json:"min_scale"`
	MaxScale       *uint32   `json:"max_scale"`
}

// Quantity is a Kubernetes resource quantity such as 500m or 1Gi, as text.
type Quantity string

// AccessModifier says who may call a bound function.
type AccessModifier string

const (
	AccessPublic   AccessModifier = "PUBLIC"
	AccessInternal AccessModifier = "INTERNAL"
	AccessPrivate  AccessModifier = "PRIVATE"
)

// FunctionType says what a function is made of. The default is FunctionCustom.
type FunctionType string

const (
	FunctionBuiltin FunctionType = "BUILTIN"
	FunctionCustom  FunctionType = "CUSTOM"
	FunctionMacro   FunctionType = "MACRO"
	FunctionLogical FunctionType = "LOGICAL"
	FunctionWASM    FunctionType = "WASM"
)

// ConsistencyModel is what a class promises to its readers. The default is
// ConsistencyNone.
type ConsistencyModel string

const (
	ConsistencyNone             ConsistencyModel = "NONE"
	ConsistencyReadYourWrite    ConsistencyModel = "READ_YOUR_WRITE"
	ConsistencyBoundedStaleness ConsistencyModel = "BOUNDED_STALENESS"
	ConsistencyStrong           ConsistencyModel = "STRONG"
)
