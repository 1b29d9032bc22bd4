// Webhooks from end to end: a call to an API, a program in a sandbox, a signed POST to a receiver.

#include <gtest/gtest.h>
#include <signal.h>

#include <map>
#include <set>

#include "tests/cluster/cluster.h"
#include "tests/webhook/receiver.h"
#include "webhook/signature.h"

namespace forkbox::tests {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

void Accept(Receiver::Talk& talk) { talk.Answer(200); }

json DeliveriesOf(std::uint16_t port, const std::string& id) {
  return GetFrom(port, "/api/v1/executions/" + id + "/deliveries").body["deliveries"];
}

TEST(WebhooksTest, TwoSendersDeliverEachResultOnceAndSigned) {
  Cluster cluster;
  const auto api = cluster.StartApi();
  const auto runner = cluster.StartRunner();
  const auto one = cluster.StartWebhook();
  const auto two = cluster.StartWebhook();
  const std::uint16_t port = PortOf(*api);
  Receiver receiver(Accept);
  const std::string secret = PostTo(port, "/api/v1/webhook-secrets", {}).body["secret"];

  constexpr std::size_t kJobs = 60;
  std::map<std::string, int> expected;  // the value of each job
  for (std::size_t i = 0; i < kJobs; ++i) {
    const Answer accepted =
        QueuePython(port, "return " + std::to_string(i), receiver.Url("/hook?i=1"));
    ASSERT_EQ(accepted.status, 202) << accepted.raw.body;
    expected[accepted.body["job_id"]] = static_cast<int>(i);
  }
  ASSERT_TRUE(Eventually([&] {
    const Answer queue = GetFrom(port, "/api/v1/queue");
    return receiver.posts().size() >= kJobs && queue.status == 200 &&
           queue.body["webhooks"]["pending"] == 0;
  }));
  const std::vector<Post> posts = receiver.posts();
  EXPECT_EQ(posts.size(), kJobs) << "nobody was told twice";
  std::set<std::string> ids;
  for (const Post& post : posts) {
    const json body = json::parse(post.body, nullptr, false);
    ASSERT_TRUE(body.is_object()) << post.body;
    EXPECT_EQ(body["code"], 200) << post.body;
    EXPECT_EQ(body["response"]["result"], expected.at(body["job_id"])) << post.body;
    EXPECT_EQ(post.headers.at("content-type"), "application/json");
    const std::string id = post.headers.at("webhook-id");
    EXPECT_TRUE(ids.insert(id).second) << "an id of its own";
    EXPECT_EQ(
        post.headers.at("webhook-signature"),
        *webhook::Sign(secret, id, std::stoll(post.headers.at("webhook-timestamp")), post.body));
  }
}

TEST(WebhooksTest, AReceiverThatIsDownIsTriedAgainAndCanBeToldOnceMore) {
  Cluster cluster;
  const auto api = cluster.StartApi();
  const auto runner = cluster.StartRunner();
  const auto sender = cluster.StartWebhook();
  const std::uint16_t port = PortOf(*api);
  Receiver receiver([](Receiver::Talk& talk) { talk.Answer(talk.number == 1 ? 503 : 200); });
  const Answer accepted = QueuePython(port, "1/0", receiver.Url());
  ASSERT_EQ(accepted.status, 202);
  const std::string id = accepted.body["job_id"];
  ASSERT_TRUE(Eventually([&] {
    const json deliveries = DeliveriesOf(port, id);
    return deliveries.size() == 1 && deliveries[0]["state"] == "delivered";
  }));
  const json first = DeliveriesOf(port, id)[0];
  ASSERT_EQ(first["attempts"].size(), 2U) << first.dump();
  EXPECT_EQ(first["attempts"][0]["status"], 503);
  EXPECT_NE(first["attempts"][0]["error"], nullptr);
  EXPECT_EQ(first["attempts"][1]["status"], 200);

  const Answer again = PostTo(port, "/api/v1/executions/" + id + "/deliveries", {});
  ASSERT_EQ(again.status, 202) << again.raw.body;
  ASSERT_TRUE(Eventually([&] { return receiver.posts().size() == 3; }));
  const std::vector<Post> posts = receiver.posts();
  EXPECT_EQ(posts[0].headers.at("webhook-id"), posts[1].headers.at("webhook-id"));
  EXPECT_EQ(posts[0].body, posts[1].body);
  EXPECT_EQ(posts[2].headers.at("webhook-id"), again.body["id"]);
  EXPECT_EQ(json::parse(posts[2].body)["code"], 400) << "a program's failure is a result";
}

TEST(WebhooksTest, WhatIsOwedOutlivesEveryProcess) {
  Cluster cluster;
  auto api = cluster.StartApi();
  std::string id;
  Receiver receiver(Accept);
  {
    const auto runner = cluster.StartRunner();
    const Answer accepted = QueuePython(PortOf(*api), "return 7", receiver.Url());
    ASSERT_EQ(accepted.status, 202);
    id = accepted.body["job_id"];
    ASSERT_TRUE(Eventually([&] { return !DeliveriesOf(PortOf(*api), id).empty(); }));
    runner->Signal(SIGKILL);
  }
  api->Signal(SIGKILL);
  Cluster::postgres().Kill();
  Cluster::postgres().Restart();
  const auto sender = cluster.StartWebhook();
  ASSERT_TRUE(Eventually([&] { return receiver.posts().size() == 1; }));
  const json body = json::parse(receiver.posts()[0].body);
  EXPECT_EQ(body["job_id"], id);
  EXPECT_EQ(body["response"]["result"], 7);
}

TEST(WebhooksTest, TheEmbeddedServerSendsThemToo) {
  TemporaryDirectory directory;
  ForkboxProcess server(directory.path(),
                        {"serve", "--listen", "127.0.0.1:0", "--webhook-allow", "127.0.0.0/8"});
  const std::uint16_t port = PortOf(server);
  Receiver receiver(Accept);
  const Answer accepted = QueuePython(port, "return 'x' * 3", receiver.Url());
  ASSERT_EQ(accepted.status, 202) << accepted.raw.body;
  ASSERT_TRUE(Eventually([&] { return receiver.posts().size() == 1; }));
  EXPECT_EQ(json::parse(receiver.posts()[0].body)["response"]["result"], "xxx");
  const std::string id = accepted.body["job_id"];
  EXPECT_TRUE(Eventually([&] { return DeliveriesOf(port, id)[0]["state"] == "delivered"; }));
  EXPECT_EQ(GetFrom(port, "/executions/" + id).body["state"], "completed");
}

TEST(WebhooksTest, PrivateAddressesAreRefusedAtSubmission) {
  TemporaryDirectory directory;
  ForkboxProcess server(directory.path(), {"serve", "--listen", "127.0.0.1:0"});
  const std::uint16_t port = PortOf(server);
  for (const char* url : {"http://127.0.0.1:1/", "http://169.254.169.254/latest", "http://[::1]/",
                          "http://2130706433/", "http://10.0.0.1/", "ftp://example.com/",
                          "http://user:pass@example.com/", "not a url"}) {
    const Answer refused = QueuePython(port, "return 1", url);
    EXPECT_EQ(refused.status, 400) << url;
    EXPECT_NE(refused.body.value("message", "").find("webhook_url"), std::string::npos)
        << refused.raw.body;
  }
}

}  // namespace
}  // namespace forkbox::tests
