package sms

import (
	"encoding/xml"
	"net/http"
)

// What the Query API answers with, in the namespace of its version.

const snsNamespace = "http://sns.amazonaws.com/doc/" + snsVersion + "/"

type publishResult struct {
	MessageID string `xml:"MessageId"`
}

type optedOutResult struct {
	IsOptedOut bool `xml:"isOptedOut"`
}

type attribute struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

type attributesResult struct {
	Attributes []attribute `xml:"attributes>entry"`
}

type sandboxResult struct {
	IsInSandbox bool
}

type sandboxNumber struct {
	PhoneNumber string
	Status      string
}

type sandboxNumbersResult struct {
	PhoneNumbers []sandboxNumber `xml:"PhoneNumbers>member"`
}

// snsError is an answer that refuses.
type snsError struct {
	status        int
	code, message string
}

func refuse(status int, code, message string) *snsError { return &snsError{status, code, message} }

func invalid(what string) *snsError {
	return refuse(http.StatusBadRequest, "InvalidParameter", "Invalid parameter: "+what)
}

func (e *snsError) write(w http.ResponseWriter, id string) {
	type inner struct {
		Type, Code, Message string
	}
	out := inner{"Sender", e.code, e.message}
	if e.status >= http.StatusInternalServerError {
		out.Type = "Receiver"
	}
	writeXML(w, e.status, id, struct {
		XMLName   xml.Name `xml:"ErrorResponse"`
		Xmlns     string   `xml:"xmlns,attr"`
		Error     inner
		RequestID string `xml:"RequestId"`
	}{Xmlns: snsNamespace, Error: out, RequestID: id})
}

// writeResult answers an action, whose elements have its name in theirs.
func writeResult(w http.ResponseWriter, id, action string, result any) {
	type metadata struct {
		RequestID string `xml:"RequestId"`
	}
	writeXML(w, http.StatusOK, id, struct {
		XMLName  xml.Name
		Xmlns    string `xml:"xmlns,attr"`
		Result   wrapped
		Metadata metadata `xml:"ResponseMetadata"`
	}{xml.Name{Local: action + "Response"}, snsNamespace, wrapped{action + "Result", result}, metadata{id}})
}

// wrapped is a value within an element of a name that is known only now.
type wrapped struct {
	name  string
	value any
}

// MarshalXML implements xml.Marshaler.
func (w wrapped) MarshalXML(e *xml.Encoder, _ xml.StartElement) error {
	start := xml.StartElement{Name: xml.Name{Local: w.name}}
	if w.value == nil {
		return e.EncodeElement(struct{}{}, start)
	}
	return e.EncodeElement(w.value, start)
}

func writeXML(w http.ResponseWriter, status int, id string, v any) {
	body, err := xml.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	w.Header().Set("X-Amzn-Requestid", id)
	w.WriteHeader(status)
	// A failed write means that the client has gone; nobody is left to tell.
	_, _ = w.Write(append(body, '\n'))
}
