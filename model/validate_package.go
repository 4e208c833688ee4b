package model

// Validate returns every rule that the package breaks by itself. What takes
// other documents to decide (dependencies exist, no cycle) is decided when the
// change is committed. Call SetDefaults first.
func (p *Package) Validate() []Problem {
	found := p.check()
	return found.result()
}

func (p *Package) check() problems {
	var c checker
	c.name("name", p.Name)
	c.optionalLine("version", p.Version)
	c.metadata(&p.Metadata)
	c.dependencies(p)
	functions := c.functions(p.Functions)
	classes := c.classes(p.Classes, functions)
	c.deployments(p.Deployments, p.Name, classes)
	return c.problems
}

func (c *checker) metadata(m *PackageMetadata) {
	c.enter("metadata")
	defer c.leave()
	c.optionalLine("author", m.Author)
	c.text("description", m.Description)
	c.each("tags", m.Tags, MaxEntries, tagProblem)
	c.timestamp("created_at", m.CreatedAt)
	c.timestamp("updated_at", m.UpdatedAt)
}

func tagProblem(tag string) string {
	if tag == "" {
		return "must not be empty"
	}
	return lineProblem(tag, MaxTagLength)
}

func (c *checker) dependencies(p *Package) {
	c.eachOnce("dependencies", p.Dependencies, MaxEntries, func(name string) string {
		switch {
		case name == "":
			return "must not be empty"
		case name == p.Name:
			return "must not be the package itself"
		}
		return nameProblem(name)
	})
}

// functions checks the functions of a package and returns their keys.
func (c *checker) functions(functions []Function) seen {
	keys := newSeen(len(functions))
	if !c.size("functions", len(functions), MaxFunctions) {
		return nil
	}
	c.enter("functions")
	defer c.leave()
	for i := range functions {
		c.enterIndex(i)
		c.function(&functions[i], keys)
		c.leave()
	}
	return keys
}

func (c *checker) function(f *Function, keys seen) {
	c.uniqueName("key", f.Key, keys)
	c.oneOf("function_type", string(f.FunctionType), f.FunctionType.allowed())
	c.text("description", f.Description)
	c.provision(f.ProvisionConfig)
	c.textMap("config", f.Config)
}

// uniqueName checks a name that no sibling may have.
func (c *checker) uniqueName(member, value string, siblings seen) {
	if message := nameProblem(value); message != "" {
		c.reportAt(member, "%s", message)
	} else if !siblings.add(value) {
		c.reportAt(member, "%s is used a second time", echo(value))
	}
}

// provision checks the provision_config of the value the walk is at.
func (c *checker) provision(config *ProvisionConfig) {
	if config == nil {
		return
	}
	c.enter("provision_config")
	defer c.leave()
	c.optionalLine("container_image", config.ContainerImage)
	c.optionalLine("wasm_module_url", config.WasmModuleURL)
	c.resource("cpu", config.CPURequest, config.CPULimit)
	c.resource("memory", config.MemoryRequest, config.MemoryLimit)
	if lowest, highest := config.MinScale, config.MaxScale; lowest != nil && highest != nil && *lowest > *highest {
		c.reportAt("min_scale", "must not exceed max_scale %d, got %d", *highest, *lowest)
	}
}

// resource checks request and limit of one resource.
func (c *checker) resource(resource string, request, limit *Quantity) {
	asked, askedOK := c.quantity(resource+"_request", request)
	most, mostOK := c.quantity(resource+"_limit", limit)
	if askedOK && mostOK && asked > most {
		c.reportAt(resource+"_request", "must not exceed %s_limit %s, got %s", resource, *limit, *request)
	}
}

// quantity checks a quantity and returns it in thousandths, if there is one.
func (c *checker) quantity(member string, q *Quantity) (milli int64, ok bool) {
	if q == nil {
		return 0, false
	}
	milli, err := ParseQuantity(*q)
	switch {
	case err != nil:
		c.reportAt(member, "%v", err)
	case milli < 0:
		c.reportAt(member, "must not be negative, got %s", *q)
	default:
		return milli, true
	}
	return 0, false
}

// classes checks the classes of a package and returns their keys. functions are
// the keys that bindings may name, nil when they are not known.
func (c *checker) classes(classes []Class, functions seen) seen {
	if !c.size("classes", len(classes), MaxClasses) {
		return nil
	}
	keys := newSeen(len(classes))
	c.enter("classes")
	defer c.leave()
	for i := range classes {
		class := &classes[i]
		c.enterIndex(i)
		c.uniqueName("key", class.Key, keys)
		c.text("description", class.Description)
		c.stateSpec(class.StateSpec)
		c.bindings(class.FunctionBindings, functions)
		c.leave()
	}
	return keys
}

func (c *checker) stateSpec(s *StateSpecification) {
	if s == nil {
		return
	}
	c.enter("state_spec")
	defer c.leave()
	c.line("default_provider", s.DefaultProvider)
	c.oneOf("consistency_model", string(s.ConsistencyModel), s.ConsistencyModel.allowed())
	c.line("serialization_format", s.SerializationFormat)
	if !c.size("key_specs", len(s.KeySpecs), MaxEntries) {
		return
	}
	c.enter("key_specs")
	defer c.leave()
	for i, spec := range s.KeySpecs {
		c.enterIndex(i)
		if spec.Name == "" {
			c.reportAt("name", "is required")
		}
		c.line("name", spec.Name)
		c.line("key_type", spec.KeyType)
		c.leave()
	}
}

func (c *checker) bindings(bindings []FunctionBinding, functions seen) {
	if !c.size("function_bindings", len(bindings), MaxEntries) {
		return
	}
	names := newSeen(len(bindings))
	c.enter("function_bindings")
	defer c.leave()
	for i := range bindings {
		binding := &bindings[i]
		c.enterIndex(i)
		c.uniqueName("name", binding.Name, names)
		c.boundFunction(binding.FunctionKey, functions)
		c.oneOf("access_modifier", string(binding.AccessModifier), binding.AccessModifier.allowed())
		c.each("parameters", binding.Parameters, MaxEntries, parameterProblem)
		c.leave()
	}
}

func (c *checker) boundFunction(key string, functions seen) {
	if message := nameProblem(key); message != "" {
		c.reportAt("function_key", "%s", message)
		return
	}
	if _, have := functions[key]; functions != nil && !have {
		c.reportAt("function_key", "names no function of this package: %s", echo(key))
	}
}

func parameterProblem(parameter string) string { return lineProblem(parameter, MaxLineLength) }
