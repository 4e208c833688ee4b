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

func (LabelOperator) allowed() []string {
	return []string{string(LabelIn), string(LabelNotIn), string(LabelExists), string(LabelDoesNotExist)}
}

func (RolloutStrategy) allowed() []string {
	return []string{string(RolloutParallel), string(RolloutWaves)}
}

func (RolloutFailureAction) allowed() []string {
	return []string{string(OnFailurePause), string(OnFailureRollback), string(OnFailureContinue)}
}

func (ClusterProtocol) allowed() []string {
	return []string{string(ProtocolHTTP), string(ProtocolGRPC)}
}

func (ClusterAuthType) allowed() []string {
	return []string{
		string(ClusterAuthNone), string(ClusterAuthBearer), string(ClusterAuthBasic), string(ClusterAuthCertificate),
	}
}

// Configurations in the field write Bearer, None, HTTP.

func (ClusterProtocol) anyCase() {}
func (ClusterAuthType) anyCase() {}
