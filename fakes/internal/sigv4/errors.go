package sigv4

import "net/http"

// Kind is why a request was not accepted.
type Kind int

// The kinds.
const (
	Missing      Kind = iota + 1 // there is no Authorization header
	Malformed                    // it cannot be read
	WrongService                 // signed for another one
	WrongRegion                  // signed for another one
	NoDate                       // no X-Amz-Date, or one of another day than the scope's
	Skewed                       // the clocks differ by more than MaxSkew
	UnknownKey                   // nobody has this access key id
	Unsigned                     // an X-Amz- header is not covered
	Mismatch                     // the signature is another one
)

// Error tells why a request was not accepted, in words for its sender.
type Error struct {
	Kind    Kind
	Message string
}

func (e *Error) Error() string { return e.Message }

func mismatch() *Error {
	return &Error{Kind: Mismatch, Message: "The request signature we calculated does not match the signature you provided. " +
		"Check your AWS Secret Access Key and signing method."}
}

// Query gives the status and the code with which services that have a Query API
// (SNS, Elastic Load Balancing, Auto Scaling) answer, as their pages "Common
// errors" list them.
func (e *Error) Query() (status int, code string) {
	switch e.Kind {
	case Missing:
		return http.StatusForbidden, "MissingAuthenticationToken"
	case Malformed, NoDate:
		return http.StatusBadRequest, "IncompleteSignature"
	case UnknownKey:
		return http.StatusForbidden, "InvalidClientTokenId"
	}
	return http.StatusForbidden, "SignatureDoesNotMatch"
}
