# Homebrew's formula. packaging/release fills in the addresses and checksums of a release between
# the two marks; in the repository they are those of a release to come, and only `--HEAD` can be
# installed.
class Catchment < Formula
  desc "Local buckets, synced from folders, object storage and other places"
  homepage "https://github.com/catchment/catchment"
  # release: begin
  url "https://github.com/catchment/catchment/releases/download/v0.2.0/catchment-0.2.0.tar.gz"
  sha256 "0000000000000000000000000000000000000000000000000000000000000000"
  # release: end
  license "Apache-2.0"
  head "https://github.com/catchment/catchment.git", branch: "main"

  depends_on "rust" => :build

  def install
    # A release's tarball for this system has the program, its pages and its completions in it.
    if File.exist?("catchment") && File.directory?("completions")
      bin.install "catchment"
      man1.install Dir["man/*.1"]
      bash_completion.install "completions/catchment.bash" => "catchment"
      zsh_completion.install "completions/_catchment"
      fish_completion.install "completions/catchment.fish"
    else
      system "cargo", "install", "--profile", "dist", *std_cargo_args
      system bin/"catchment", "man", "man"
      man1.install Dir["man/*.1"]
      generate_completions_from_executable(bin/"catchment", "completions")
    end
  end

  service do
    run [opt_bin/"catchment", "serve"]
    keep_alive true
    log_path var/"log/catchment.log"
    error_log_path var/"log/catchment.log"
  end

  test do
    ENV["CATCHMENT_DATA_DIR"] = (testpath/"data").to_s
    ENV["CATCHMENT_KEYRING"] = "off"
    ENV["CATCHMENT_QUIET_PERIOD_MS"] = "0"
    (testpath/"source/folder").mkpath
    (testpath/"source/folder/a.txt").write "brought by Catchment"
    system bin/"catchment", "sync", testpath/"source"
    assert_equal "brought by Catchment", shell_output("#{bin}/catchment get source/folder/a.txt")
    assert_match "all whole", shell_output("#{bin}/catchment verify")
    assert_match version.to_s, shell_output("#{bin}/catchment --version")
  end
end
