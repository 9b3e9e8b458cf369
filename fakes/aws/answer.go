package aws

import (
	"bytes"
	"encoding/xml"
	"net/http"
)

// list is a list in an answer: its members are elements called member, and it is
// there when it is empty too.
type list[T any] []T

// MarshalXML implements xml.Marshaler.
func (l list[T]) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	if err := e.EncodeToken(start); err != nil {
		return err
	}
	for _, member := range l {
		if err := e.EncodeElement(member, xml.StartElement{Name: xml.Name{Local: "member"}}); err != nil {
			return err
		}
	}
	return e.EncodeToken(start.End())
}

type metadata struct {
	RequestID string `xml:"RequestId"`
}

// writeResult answers an action with its result.
func writeResult(w http.ResponseWriter, a *api, action, id string, result any) error {
	response := xml.StartElement{Name: xml.Name{Space: a.namespace, Local: action + "Response"}}
	var b bytes.Buffer
	e := xml.NewEncoder(&b)
	err := e.EncodeToken(response)
	if err == nil {
		err = e.EncodeElement(result, xml.StartElement{Name: xml.Name{Local: action + "Result"}})
	}
	if err == nil {
		err = e.EncodeElement(metadata{id}, xml.StartElement{Name: xml.Name{Local: "ResponseMetadata"}})
	}
	if err == nil {
		err = e.EncodeToken(response.End())
	}
	if err == nil {
		err = e.Close()
	}
	if err != nil {
		return err
	}
	write(w, http.StatusOK, b.Bytes())
	return nil
}

func write(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	// A failed write means that the client has gone; nobody is left to tell.
	_, _ = w.Write(body)
}

// apiError is an answer that refuses.
type apiError struct {
	status        int
	code, message string
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func refuse(code, message string) *apiError {
	return &apiError{http.StatusBadRequest, code, message}
}

func invalid(message string) *apiError { return refuse("ValidationError", message) }

func malformed(message string) *apiError { return refuse("MalformedQueryString", message) }

func denied(code, message string) *apiError { return &apiError{http.StatusForbidden, code, message} }

func notServed(what string) *apiError {
	return &apiError{http.StatusNotImplemented, "NotImplemented", "Not served here: " + what}
}

func (e *apiError) write(w http.ResponseWriter, namespace, id string) {
	kind := "Sender"
	if e.status >= http.StatusInternalServerError {
		kind = "Receiver"
	}
	type fault struct{ Type, Code, Message string }
	body, err := xml.Marshal(struct {
		XMLName   xml.Name
		Error     fault
		RequestID string `xml:"RequestId"`
	}{xml.Name{Space: namespace, Local: "ErrorResponse"}, fault{kind, e.code, e.message}, id})
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	write(w, e.status, body)
}
