package sms_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/internal/desk"
	"github.com/espra/protoplex/fakes/internal/sigv4"
	"github.com/espra/protoplex/fakes/sms"
)

const (
	region = "eu-west-1"
	key    = "AKIDEXAMPLE"
	secret = "a secret"
)

// topic runs the role and gives the SDK's client, which thinks that it talks to
// Amazon.
func topic(t *testing.T, more ...string) (*desk.Desk, func(secret string) *sns.Client) {
	t.Helper()
	d := desk.New(t, "127.0.0.1")
	cert, roots := desk.Certificate(t, "sns."+region+".amazonaws.com")
	d.WriteFile(t, "/api.pem", cert)
	args := []string{"--listen", ":0", "--cert", "/api.pem", "--region", region, "--key", key + ":" + secret}
	d.Run(t, sms.RunSNS, append(args, more...)...)
	addr := d.Await(t, "sms gateway ready")["listen"].(string)
	return d, func(secret string) *sns.Client {
		return sns.New(sns.Options{
			Region: region, Retryer: aws.NopRetryer{},
			Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: key, SecretAccessKey: secret}, nil
			}),
			HTTPClient: &http.Client{Transport: &http.Transport{
				DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, addr)
				},
				TLSClientConfig:   &tls.Config{RootCAs: roots},
				DisableKeepAlives: true,
			}},
		})
	}
}

func input(to, body string) *sns.PublishInput {
	return &sns.PublishInput{PhoneNumber: &to, Message: &body, MessageAttributes: map[string]types.MessageAttributeValue{
		"AWS.SNS.SMS.SMSType": attribute("Transactional"),
	}}
}

func attribute(value string) types.MessageAttributeValue {
	return types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &value}
}

func requireCode(t *testing.T, code string, err error) {
	t.Helper()
	var refused smithy.APIError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, code, refused.ErrorCode(), refused.ErrorMessage())
}

func TestPublish(t *testing.T) {
	t.Parallel()
	d, as := topic(t)
	in := input(ana, "hello & <bye>")
	in.MessageAttributes["AWS.SNS.SMS.SenderID"] = attribute("ESPRA")
	out, err := as(secret).Publish(t.Context(), in)
	require.NoError(t, err)
	require.Regexp(t, "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$", *out.MessageId)
	line := d.Await(t, "sms accepted", "id", *out.MessageId)
	require.Equal(t, fmt.Sprint("sns ESPRA ", ana, " hello & <bye>"), fmt.Sprint(line["provider"], " ", line["from"], " ", line["to"], " ", line["body"]))
	d.Await(t, "sms delivered", "id", *out.MessageId, "provider", "sns")
}

func TestSNSRefusals(t *testing.T) {
	t.Parallel()
	d, as := topic(t)
	c := as(secret)
	for name, test := range map[string]struct {
		in   *sns.PublishInput
		code string
	}{
		"number":    {input("07700900001", "hello"), "InvalidParameter"},
		"no number": {&sns.PublishInput{Message: aws.String("hello")}, "InvalidParameter"},
		"long":      {input(ana, strings.Repeat("é", 1601)), "InvalidParameter"},
		"empty":     {input(ana, ""), "InvalidParameter"},
		"topic":     {&sns.PublishInput{Message: aws.String("hello"), TopicArn: aws.String("arn:aws:sns:eu-west-1:1:t")}, "NotFound"},
		"type": {&sns.PublishInput{PhoneNumber: aws.String(ana), Message: aws.String("hello"),
			MessageAttributes: map[string]types.MessageAttributeValue{"AWS.SNS.SMS.SMSType": attribute("Urgent")}}, "InvalidParameter"},
		"sender": {&sns.PublishInput{PhoneNumber: aws.String(ana), Message: aws.String("hello"),
			MessageAttributes: map[string]types.MessageAttributeValue{"AWS.SNS.SMS.SenderID": attribute("12345")}}, "InvalidParameter"},
		"not known here": {&sns.PublishInput{PhoneNumber: aws.String(ana), Message: aws.String("hello"),
			MessageAttributes: map[string]types.MessageAttributeValue{"AWS.SNS.SMS.MaxPrice": attribute("0.50")}}, "InvalidParameter"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.Publish(t.Context(), test.in)
			requireCode(t, test.code, err)
		})
	}
	_, err := as("guess").Publish(t.Context(), input(ana, "hello"))
	requireCode(t, "SignatureDoesNotMatch", err)
	_, err = c.ListTopics(t.Context(), nil)
	requireCode(t, "InvalidAction", err)
	_, err = c.CheckIfPhoneNumberIsOptedOut(t.Context(), &sns.CheckIfPhoneNumberIsOptedOutInput{PhoneNumber: aws.String("1")})
	requireCode(t, "InvalidParameter", err)
	require.NotContains(t, d.Pending(), "sms accepted")
}

// SNS takes these and says nothing, as Amazon's does.
func TestDropped(t *testing.T) {
	t.Parallel()
	for why, args := range map[string][]string{
		"Phone number is opted out":                       {"--opted-out", ana},
		"Phone number is not verified in the SMS sandbox": {"--sandbox", "--verified", raj},
		"Phone is currently unreachable/unavailable":      {"--unreachable", ana},
		"No quota left for account":                       nil,
	} {
		t.Run(why, func(t *testing.T) {
			t.Parallel()
			d, as := topic(t, args...)
			if why == "No quota left for account" {
				_, err := as(secret).SetSMSAttributes(t.Context(), &sns.SetSMSAttributesInput{Attributes: map[string]string{"MonthlySpendLimit": "0"}})
				require.NoError(t, err)
			}
			out, err := as(secret).Publish(t.Context(), input(ana, "hello"))
			require.NoError(t, err)
			d.Await(t, "sms not delivered", "id", *out.MessageId, "reason", why)
		})
	}
}

func TestSNSAccount(t *testing.T) {
	t.Parallel()
	d, as := topic(t, "--opted-out", ana, "--sandbox", "--verified", raj, "--spending", "5")
	c, ctx := as(secret), t.Context()
	for number, want := range map[string]bool{ana: true, raj: false} {
		out, err := c.CheckIfPhoneNumberIsOptedOut(ctx, &sns.CheckIfPhoneNumberIsOptedOutInput{PhoneNumber: &number})
		require.NoError(t, err)
		require.Equal(t, want, out.IsOptedOut)
	}
	status, err := c.GetSMSSandboxAccountStatus(ctx, nil)
	require.NoError(t, err)
	require.True(t, status.IsInSandbox)
	list, err := c.ListSMSSandboxPhoneNumbers(ctx, nil)
	require.NoError(t, err)
	require.Len(t, list.PhoneNumbers, 1)
	require.Equal(t, raj, *list.PhoneNumbers[0].PhoneNumber)
	require.Equal(t, types.SMSSandboxPhoneNumberVerificationStatusVerified, list.PhoneNumbers[0].Status)

	attributes := func(names ...string) map[string]string {
		out, err := c.GetSMSAttributes(ctx, &sns.GetSMSAttributesInput{Attributes: names})
		require.NoError(t, err)
		return out.Attributes
	}
	set := func(name, value string) error {
		_, err := c.SetSMSAttributes(ctx, &sns.SetSMSAttributesInput{Attributes: map[string]string{name: value}})
		return err
	}
	require.Equal(t, map[string]string{"MonthlySpendLimit": "5"}, attributes())
	for name, value := range map[string]string{
		"MonthlySpendLimit": "6", "DefaultSMSType": "Urgent", "DefaultSenderID": "1", "DeliveryStatusSuccessSamplingRate": "101", "Colour": "red",
	} {
		requireCode(t, "InvalidParameter", set(name, value))
	}
	require.NoError(t, set("MonthlySpendLimit", "3"))
	require.NoError(t, set("DefaultSenderID", "ESPRA"))
	require.Equal(t, map[string]string{"MonthlySpendLimit": "3", "DefaultSenderID": "ESPRA"}, attributes())
	require.Equal(t, map[string]string{"DefaultSenderID": "ESPRA"}, attributes("DefaultSenderID", "DefaultSMSType"))

	_, err = c.Publish(ctx, input(raj, "hello"))
	require.NoError(t, err)
	d.Await(t, "sms accepted", "from", "ESPRA", "to", raj)
}

// A budget of a dollar is enough for 155 segments of 0.00645 dollars.
func TestBudget(t *testing.T) {
	t.Parallel()
	d, as := topic(t)
	var last string
	for range 16 {
		out, err := as(secret).Publish(t.Context(), input(ana, strings.Repeat("a", 1530))) // ten segments
		require.NoError(t, err)
		last = *out.MessageId
	}
	require.Equal(t, last, d.Await(t, "sms not delivered", "reason", "No quota left for account")["id"])
}

func TestThrottling(t *testing.T) {
	t.Parallel()
	_, as := topic(t, "--rate", "1")
	var err error
	for range 5 {
		if _, err = as(secret).Publish(t.Context(), input(ana, "hello")); err != nil {
			break
		}
	}
	requireCode(t, "Throttling", err)
}

// What strangers send is answered, whatever it is.
func FuzzSNS(f *testing.F) {
	m := desk.New(f, "127.0.0.1")
	gateway := sms.NewSNS(f.Context(), m, sms.SNSOptions{Region: region, Keys: map[string]string{key: secret}})
	f.Add("Action=Publish&Version=2010-03-31&PhoneNumber=%2B447700900001&Message=hello")
	f.Add("Action=SetSMSAttributes&Version=2010-03-31&attributes.entry.1.key=MonthlySpendLimit&attributes.entry.1.value=1")
	f.Add("Action=GetSMSAttributes&Version=2010-03-31&attributes.member.1=DefaultSMSType")
	f.Add("Action=%zz")
	f.Fuzz(func(t *testing.T, body string) {
		r, err := http.NewRequest(http.MethodPost, "http://sns/", strings.NewReader(body))
		require.NoError(t, err)
		require.NoError(t, v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: key, SecretAccessKey: secret},
			r, sigv4.Hash([]byte(body)), "sns", region, time.Now()))
		w := httptest.NewRecorder()
		gateway.ServeHTTP(w, r)
		require.Contains(t, []int{200, 400, 404, 413}, w.Code, w.Body)
		form, _ := url.ParseQuery(body)
		if w.Code == http.StatusOK {
			require.Contains(t, w.Body.String(), form.Get("Action")+"Result")
		}
	})
}
