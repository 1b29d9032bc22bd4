#include "api/http/reply.h"

#include <utility>

#include "api/http/exchange.h"

namespace forkbox::http {

// Each call keeps a copy of its own: finishing an answer starts the next request on the connection,
// whose handler may well destroy the Reply this runs on.

Reply::Reply(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}

bool Reply::Send(int status, std::string_view content_type, std::string_view body,
                 const Fields& headers) {
  const auto exchange = exchange_;
  return exchange && exchange->Send(status, content_type, body, headers);
}

bool Reply::SendFile(int status, std::string_view content_type, UniqueFd file, std::uint64_t offset,
                     std::uint64_t length, const Fields& headers) {
  const auto exchange = exchange_;
  return exchange &&
         exchange->SendFile(status, content_type, std::move(file), offset, length, headers);
}

bool Reply::Start(int status, std::string_view content_type, const Fields& headers) {
  const auto exchange = exchange_;
  return exchange && exchange->Start(status, content_type, headers);
}

bool Reply::Write(std::string_view data) {
  const auto exchange = exchange_;
  return exchange && exchange->Write(data);
}

void Reply::End() {
  const auto exchange = exchange_;
  if (exchange) exchange->End();
}

void Reply::Abort() {
  const auto exchange = exchange_;
  if (exchange) exchange->Abort();
}

bool Reply::Alive() const { return exchange_ && exchange_->Alive(); }

void Reply::OnGone(std::function<void()> callback) {
  const auto exchange = exchange_;
  if (exchange) exchange->OnGone(std::move(callback));
}

std::size_t Reply::Backlog() const { return exchange_ ? exchange_->Backlog() : 0; }

bool Reply::AwaitBacklog(std::size_t bytes, std::chrono::milliseconds patience) const {
  const auto exchange = exchange_;
  return exchange && exchange->AwaitBacklog(bytes, patience);
}

const std::string& Reply::request_id() const {
  static const std::string none;
  return exchange_ ? exchange_->request_id() : none;
}

}  // namespace forkbox::http
