package model

func (AccessModifier) allowed() []string {
	return []string{string(AccessPublic), string(AccessInternal), string(AccessPrivate)}
}

func (FunctionType) allowed() []string {
	return []string{
		string(FunctionBuiltin), string(FunctionCustom), string(FunctionMacro),
		string(FunctionLogical), string(FunctionWASM),
	}
}

func (ConsistencyModel) allowed() []string {
	return []string{
		string(ConsistencyNone), string(ConsistencyReadYourWrite),
		string(ConsistencyBoundedStaleness), string(ConsistencyStrong),
	}
}
