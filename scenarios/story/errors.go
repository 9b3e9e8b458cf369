package story

import "github.com/espra/protoplex/nodes/config"

// What is wrong with a scenario file, and where: as with any other file.
type (
	Pos    = config.Pos
	Error  = config.Error
	Errors = config.Errors
)

// maxErrors is how many errors anybody sees.
const maxErrors = 100
