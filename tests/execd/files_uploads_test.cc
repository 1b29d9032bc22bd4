// Uploads into real boxes: whole or not at all, whatever happens on the way.
#include <chrono>
#include <thread>

#include "tests/execd/files_fixture.h"

namespace forkbox::execd::testing {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

class Uploads : public FilesInBox {
 protected:
  // Nothing but these, hidden files too, is in the work directory.
  void ExpectOnly(const std::string& names) { EXPECT_EQ(Run("ls -A /box/work"), names); }
};

TEST_F(Uploads, ContentArrivesWithItsMode) {
  EXPECT_DONE(Write("plain", "hello"));
  EXPECT_DONE(Write("a/b/deep", "", {.owner = "", .group = "", .mode = 0600}));
  EXPECT_EQ(Run("cat plain; stat -c %a:%s plain a a/b a/b/deep"),
            "hello755:5\n755:60\n755:60\n600:0\n");
  // What was there keeps its mode, unless told otherwise.
  Run("chmod 604 plain");
  EXPECT_DONE(Write("plain", "again"));
  EXPECT_EQ(Run("cat plain; stat -c %a plain"), "again604\n");
  EXPECT_DONE(Write("plain", "x", {.owner = "sandbox", .group = "sandbox", .mode = 0640}));
  EXPECT_EQ(Run("cat plain; stat -c %a plain"), "x640\n");
  EXPECT_DONE(Write("/tmp/else where", "y"));
  EXPECT_EQ(Run("cat '/tmp/else where'"), "y");
}

TEST_F(Uploads, LinksLeadToWhereTheyLead) {
  Run("mkdir d other; printf old > d/f; ln -s d/f link; ln -s link link2; ln -s d/new dangling; "
      "ln -s other to-other; ln -s loop loop; ln -s /box/work/d/abs absolute");
  EXPECT_DONE(Write("link2", "through"));
  EXPECT_DONE(Write("dangling", "made"));
  EXPECT_DONE(Write("absolute", "there"));
  EXPECT_DONE(Write("to-other/x", "in it"));
  EXPECT_DONE(Write("to-other/../up", "above"));
  EXPECT_EQ(Run("cat d/f d/new d/abs other/x up; readlink link link2 dangling"),
            "throughmadetherein itaboved/f\nlink\nd/new\n");
  EXPECT_REFUSED(Write("loop", "x"), kInternal, "too many levels of symbolic links");
}

TEST_F(Uploads, RefusedWhereNoFileCanBe) {
  Run("mkdir d; mkfifo fifo; touch file; touch shut; chmod 444 shut; mkdir -m 555 closed");
  EXPECT_REFUSED(Write("d", "x"), kConflict, "is a directory");
  EXPECT_REFUSED(Write("d/", "x"), kConflict, "is a directory");
  EXPECT_REFUSED(Write("new/", "x"), kInternal, "is a directory");
  EXPECT_REFUSED(Write("fifo", "x"), kConflict, "not a regular file");
  EXPECT_REFUSED(Write("/dev/null", "x"), kConflict, "not a regular file");
  EXPECT_REFUSED(Write("file/below", "x"), kConflict, "not a directory");
  EXPECT_REFUSED(Write("shut", "x"), kInternal, "permission denied");
  EXPECT_REFUSED(Write("closed/x", "x"), kInternal, "permission denied");
  EXPECT_REFUSED(Write("/usr/x", "x"), kInternal, "read-only file system");
  EXPECT_REFUSED(Write(std::string(256, 'x'), "x"), kInvalidArgument, "file name too long");
  EXPECT_REFUSED(Write("who", "x", {.owner = "who", .group = "", .mode = 0}), kInternal,
                 "unknown user who");
  ExpectOnly("closed\nd\nfifo\nfile\nshut\n");
}

TEST_F(Uploads, NothingIsSeenBeforeTheCommit) {
  Run("printf old > f");
  {
    auto upload = files_->Create("f", {});
    ASSERT_TRUE(upload);
    EXPECT_DONE((*upload)->Write("half"));
    EXPECT_EQ(Run("cat f"), "old");
    auto made = files_->Create("new", {});
    ASSERT_TRUE(made);
    EXPECT_REFUSED(files_->Info("new"), kNotFound, "new");
  }
  EXPECT_EQ(Run("cat f; echo; ls -A"), "old\nf\n");
  auto upload = files_->Create("f", {});
  ASSERT_TRUE(upload);
  EXPECT_DONE((*upload)->Commit());
  EXPECT_REFUSED((*upload)->Commit(), kConflict, "over");
  EXPECT_REFUSED((*upload)->Write("x"), kConflict, "over");
  upload->reset();
  EXPECT_EQ(files_->Info("f")->size, 0U);
}

TEST_F(Uploads, LargeContentInPiecesOfAnySize) {
  std::string content(9'000'001, 'x');
  for (std::size_t i = 0; i < content.size(); ++i)
    content[i] = static_cast<char>(i * 2654435761U >> 7);
  auto upload = files_->Create("large", {});
  ASSERT_TRUE(upload);
  const std::size_t pieces[] = {1, 262'144, 262'143, 262'145, 1'000'000, 7, 0};
  std::size_t at = 0;
  for (std::size_t i = 0; at < content.size(); ++i) {
    const auto piece = std::string_view(content).substr(at, pieces[i % std::size(pieces)]);
    ASSERT_TRUE((*upload)->Write(piece));
    at += piece.size();
  }
  EXPECT_DONE((*upload)->Commit());
  EXPECT_TRUE(Read("large") == content);
}

TEST_F(Uploads, FullDiskIsSaidAndLeavesNothing) {
  Open({.disk_bytes = 8U << 20});
  const std::string megabyte(1U << 20, 'x');
  EXPECT_DONE(Write("small", megabyte));
  auto upload = files_->Create("large", {});
  ASSERT_TRUE(upload);
  Result<void> written;
  for (int i = 0; i < 64 && written; ++i) written = (*upload)->Write(megabyte);
  if (written) written = (*upload)->Commit();
  EXPECT_REFUSED(written, kInternal, "no space left on device");
  EXPECT_REFUSED((*upload)->Commit(), kInternal, "no space left on device");
  upload->reset();
  ExpectOnly("small\n");
  // The same for a replacement, of which the old file remains.
  EXPECT_REFUSED(files_->Replace({"small", "x", "12345678"}), kInternal, "no space left on device");
  EXPECT_EQ(files_->Info("small")->size, megabyte.size());
  ExpectOnly("small\n");
  EXPECT_DONE(Write("small", "x"));
}

// The disk is memory: where that is less, the kernel ends somebody, most likely the agent.
TEST_F(Uploads, MemoryRunsOutBeforeTheDisk) {
  Open({.memory_bytes = 64U << 20, .disk_bytes = 512U << 20});
  auto upload = files_->Create("large", {});
  ASSERT_TRUE(upload);
  const std::string megabyte(1U << 20, 'x');
  Result<void> written;
  for (int i = 0; i < 256 && written; ++i) written = (*upload)->Write(megabyte);
  if (written) written = (*upload)->Commit();
  EXPECT_FALSE(written);
  upload->reset();
  EXPECT_DONE(Write("small", "x"));
  ExpectOnly("small\n");
}

TEST_F(Uploads, AgentKilledOnTheWay) {
  auto upload = files_->Create("f", {});
  ASSERT_TRUE(upload);
  EXPECT_DONE((*upload)->Write("half"));
  Run("kill -9 -1; true");
  Result<void> ended = (*upload)->Write(std::string(4U << 20, 'x'));
  if (ended) ended = (*upload)->Commit();
  EXPECT_REFUSED(ended, kInternal, "has ended");
  EXPECT_REFUSED((*upload)->Write("more"), kInternal, "has ended");
  upload->reset();
  ExpectOnly("");
  EXPECT_DONE(Write("f", "again"));

  // The same, when nothing more is asked of it.
  upload = files_->Create("g", {});
  ASSERT_TRUE(upload);
  Run("kill -9 -1; true");
  upload->reset();
  ExpectOnly("f\n");
}

TEST_F(Uploads, TargetChangesOnTheWay) {
  auto upload = files_->Create("f", {});
  ASSERT_TRUE(upload);
  Run("mkdir f");
  EXPECT_REFUSED((*upload)->Commit(), kInternal, "is a directory");
  upload->reset();
  ExpectOnly("f\n");
  upload = files_->Create("d/f", {});
  ASSERT_TRUE(upload);
  Run("rm -r d");
  EXPECT_REFUSED((*upload)->Commit(), kNotFound, "no such file");
}

TEST_F(Uploads, ManyAtOnceAndOperationsBetween) {
  std::vector<std::unique_ptr<Files::Upload>> uploads;
  for (int i = 0; i < 12; ++i) {
    auto upload = files_->Create("f" + std::to_string(i), {});
    ASSERT_TRUE(upload) << upload.error().message;
    uploads.push_back(std::move(*upload));
  }
  for (auto& upload : uploads) ASSERT_TRUE(upload->Write("x"));
  EXPECT_DONE(files_->Info("/box/work"));
  std::vector<std::jthread> threads;
  for (auto& upload : uploads) {
    threads.emplace_back([&upload] { EXPECT_DONE(upload->Commit()); });
  }
  threads.clear();
  uploads.clear();
  EXPECT_EQ(PathsOf(files_->List(".", 1)).size(), 12U);
}

TEST_F(Uploads, BoxEndsOnTheWay) {
  auto upload = files_->Create("f", {});
  ASSERT_TRUE(upload);
  box_->End();
  Result<void> ended = (*upload)->Write(std::string(4U << 20, 'x'));
  if (ended) ended = (*upload)->Commit();
  EXPECT_REFUSED(ended, kUnavailable, "the sandbox has ended");
  EXPECT_REFUSED(files_->Info("f"), kUnavailable, "the sandbox has ended");
}

}  // namespace
}  // namespace forkbox::execd::testing
