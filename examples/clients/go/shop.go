// Tidegate from Go, with the standard library: go run shop.go DATA SALE ADMIN, each as HOST:PORT.
package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// One client for the whole program: it has the pool of connections, and any goroutine may use it.
var pool = &http.Client{
	Timeout: 5 * time.Second, // for one request
	Transport: &http.Transport{
		MaxIdleConnsPerHost: 32, // the default keeps two
		IdleConnTimeout:     60 * time.Second,
	},
}

// Problem is an answer that is not 2xx: problem details (RFC 9457). Type is stable, Detail is for people.
type Problem struct {
	Type   string `json:"type"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Lines  []struct {
		Available int64 `json:"available"`
	} `json:"lines"`
}

func (problem *Problem) Error() string { return problem.Detail }

// Client is a listener.
type Client struct{ address, token string }

// Send sends one request and reads its answer into content.
func (client Client) Send(method, path string, body any, headers map[string]string, content any) (*http.Response, error) {
	var text io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		text = bytes.NewReader(encoded)
	}
	request, err := http.NewRequest(method, "http://"+client.address+path, text)
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if client.token != "" {
		request.Header.Set("Authorization", "Bearer "+client.token)
	}
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	response, err := pool.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	// To the end, or the connection can't be used again.
	answered, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= 300 {
		problem := new(Problem)
		if err := json.Unmarshal(answered, problem); err != nil {
			return nil, err
		}
		return nil, problem
	}
	// Into a struct: in a map[string]any numbers would be floats, and lose digits beyond 2^53.
	return response, json.Unmarshal(answered, content)
}

// Read reads from the data API. Go repeats a GET itself if a kept connection was closed meanwhile.
func (client Client) Read(path, after string, content any) (*http.Response, error) {
	headers := map[string]string{}
	if after != "" {
		headers["Tidegate-After"] = after
	}
	return client.Send("GET", path, nil, headers, content)
}

// Change repeats a request with its key until its outcome is known: without an answer it may have had its effect.
func (client Client) Change(method, path string, body any, key string, content any) error {
	end, wait := time.Now().Add(30*time.Second), 100*time.Millisecond
	for {
		response, err := client.Send(method, path, body, map[string]string{"Idempotency-Key": key}, content)
		var problem *Problem
		switch {
		case err == nil && response.StatusCode != http.StatusAccepted:
			return nil
		case err == nil: // a payment is under way
			seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
			if err != nil {
				return err
			}
			wait = time.Duration(seconds) * time.Second
		case errors.As(err, &problem):
			if !strings.HasSuffix(problem.Type, ":request-in-flight") && problem.Status != http.StatusServiceUnavailable {
				return err
			}
		}
		if time.Now().Add(wait).After(end) {
			return fmt.Errorf("%s %s: the outcome is unknown; repeat it later with the key %s", method, path, key)
		}
		time.Sleep(wait/2 + time.Duration(mathrand.Int63n(int64(wait/2)+1)))
		if wait *= 2; wait > 2*time.Second {
			wait = 2 * time.Second
		}
	}
}

// BoundMs returns the bound: every change committed longer ago is in the answer. False: nothing is proven.
func BoundMs(response *http.Response) (int, bool) {
	first, _, _ := strings.Cut(response.Header.Get("Tidegate-Freshness"), ",")
	bound, err := strconv.Atoi(strings.TrimPrefix(first, "bound="))
	return bound, err == nil
}

func newKey() string {
	key := make([]byte, 16)
	if _, err := rand.Read(key); err != nil {
		panic(err)
	}
	return fmt.Sprintf("%x", key)
}

type price struct {
	Cents    int64  `json:"price_cents"`
	Currency string `json:"currency"`
}

type line struct {
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity"`
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	data, sale, admin := Client{address: os.Args[1]}, Client{address: os.Args[2]}, Client{address: os.Args[3]}

	var found price
	response, err := data.Read("/data/product_price/"+url.PathEscape("42"), "", &found)
	must(err)
	bound, _ := BoundMs(response)
	fmt.Printf("price: %d %s, bound: %d ms\n", found.Cents, found.Currency, bound)

	query := url.Values{"get": {"product_price/42", "product_price/43"}, "atomic": {"true"}}
	var batch struct {
		Items []struct {
			Status int   `json:"status"`
			Value  price `json:"value"`
		} `json:"items"`
	}
	_, err = data.Read("/data/batch?"+query.Encode(), "", &batch)
	must(err)
	fmt.Print("batch:")
	for _, item := range batch.Items {
		if item.Status == http.StatusOK {
			fmt.Print(" ", item.Value.Cents)
		}
	}
	fmt.Println()

	var problem *Problem
	if _, err := data.Read("/data/product_price/999999", "", &found); errors.As(err, &problem) {
		fmt.Println("absent:", problem.Type)
	}

	fmt.Println("change the price of 42, commit, and press enter")
	bufio.NewReader(os.Stdin).ReadString('\n')
	var token struct {
		Token string `json:"token"`
	}
	_, err = admin.Send("POST", "/api/v1/token", nil, nil, &token) // after the commit
	must(err)
	_, err = data.Read("/data/product_price/42", token.Token, &found)
	must(err)
	fmt.Println("own write:", found.Cents)

	// Keys are made once for each step of the customer, and stored with the cart.
	var hold struct {
		Hold string `json:"hold"`
	}
	wanted := map[string]any{"customer": "c1", "lines": []line{{"A", 1}}}
	must(sale.Change("POST", "/v1/holds", wanted, newKey(), &hold))
	payment := map[string]any{"method": "pm_card", "amount": 1999, "currency": "EUR"}
	var order struct {
		Order    string `json:"order"`
		Amount   int64  `json:"amount"`
		Currency string `json:"currency"`
	}
	paid := map[string]any{"hold": hold.Hold, "payment": payment}
	must(sale.Change("POST", "/v1/checkouts", paid, newKey(), &order))
	fmt.Println("order:", order.Order, order.Amount, order.Currency)

	wanted["lines"] = []line{{"A", 1000}}
	if err := sale.Change("POST", "/v1/holds", wanted, newKey(), &hold); errors.As(err, &problem) {
		fmt.Println("refused:", problem.Type, problem.Lines[0].Available)
	}
}
