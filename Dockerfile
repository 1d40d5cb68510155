# docker build -t klue-rerank . && docker run -p 8080:8080 -v $PWD/my-index:/index:ro -e KLUE_RERANK_API_KEY=... klue-rerank
FROM python:3.13-slim
COPY . /src
RUN pip install --no-cache-dir "/src[server]" && rm -r /src && useradd --create-home --uid 10001 server
USER server
EXPOSE 8080
HEALTHCHECK --start-period=30s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health')"]
CMD ["klue-rerank", "serve", "/index", "--host", "0.0.0.0", "--port", "8080"]
