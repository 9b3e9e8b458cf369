package scenarios

// delayTexts has an SMS gateway deliver later than usual.
func (p *platform) delayTexts(s *strike) {
	p.lagBehind(s, &lag{provider: s.event.On.Name, takes: s.event.Params.Duration("by")})
}
