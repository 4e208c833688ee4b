package model

// SetDefaults fills in what input may leave out, in place: enums, the package
// of embedded deployments, and empty lists and maps where the encoded document
// always has one.
func (p *Package) SetDefaults() {
	setEmpty(&p.Metadata.Tags)
	setEmpty(&p.Dependencies)
	setEmpty(&p.Classes)
	setEmpty(&p.Functions)
	setEmpty(&p.Deployments)
	for i := range p.Classes {
		p.Classes[i].setDefaults()
	}
	for i := range p.Functions {
		p.Functions[i].setDefaults()
	}
	for i := range p.Deployments {
		p.Deployments[i].setPackage(p.Name)
		p.Deployments[i].SetDefaults()
	}
}

func (c *Class) setDefaults() {
	setEmpty(&c.FunctionBindings)
	for i := range c.FunctionBindings {
		setEmpty(&c.FunctionBindings[i].Parameters)
	}
	if c.StateSpec != nil && c.StateSpec.ConsistencyModel == "" {
		c.StateSpec.ConsistencyModel = ConsistencyNone
	}
}

func (f *Function) setDefaults() {
	if f.FunctionType == "" {
		f.FunctionType = FunctionCustom
	}
	if f.Config == nil {
		f.Config = map[string]string{}
	}
}

// SetDefaults fills in what input may leave out, in place. What depends on the
// package or on clusters (functions, collections, node ids) is left to whoever
// plans the deployment: the document keeps the user's wish.
func (d *Deployment) SetDefaults() { setEmpty(&d.Functions) }

// SetDefaults fills in what input may leave out. A runtime state has no
// defaults today.
func (s *RuntimeState) SetDefaults() {}

// SetDefaults fills in what input may leave out, in place.
func (c *Cluster) SetDefaults() {
	if c.Protocol == "" {
		c.Protocol = ProtocolHTTP
	}
	if c.Auth != nil && c.Auth.Type == "" {
		c.Auth.Type = ClusterAuthNone
	}
}

// setPackage names the package of a deployment that names none.
func (d *Deployment) setPackage(name string) {
	if d.PackageName == "" {
		d.PackageName = name
	}
}

// setEmpty makes a nil list an empty one.
func setEmpty[T any](list *[]T) {
	if *list == nil {
		*list = []T{}
	}
}
